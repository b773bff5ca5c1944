"""The documentation is built without a warning, tells of all that there is, and leads only to files that there are."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import typer
import yaml

from silhouette import settings
from silhouette.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-d", str(out / "doctrees")]
    done = subprocess.run(
        [*command, "docs", str(out / "html")], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    return out / "html"


def text_of(page: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_is_in_the_contents(built: Path) -> None:
    names = [path.stem for path in PAGES if path.parent == CHECKOUT / "docs"]
    contents = (built / "index.html").read_text(encoding="utf-8")
    assert [name for name in names if name != "index" and f'href="{name}.html"' not in contents] == []


def test_nothing_of_a_page_is_fetched_from_elsewhere(built: Path) -> None:
    for page in built.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"', html)
        assert [address for one in loaded for address in one if address.startswith(("http", "//"))] == []


def test_every_command_and_option_is_told(built: Path) -> None:
    told = text_of(built / "reference" / "commands.html")
    waiting = [("silhouette", typer.main.get_command(app))]
    seen = 0
    while waiting:
        name, command = waiting.pop()
        inner = getattr(command, "commands", {})
        waiting += [(f"{name} {one}", inner[one]) for one in inner]
        if not inner:
            section = told.partition(f"\n{name}")[2]
            options = [option.opts[0] for option in command.params if option.param_type_name == "option"]
            assert [option for option in options if option not in section and option != "--help"] == [], name
            seen += 1
    assert seen > 30


def test_every_key_of_the_configuration_is_told_with_its_default(built: Path) -> None:
    told = text_of(built / "reference" / "configuration.html")
    shipped = yaml.safe_load((CHECKOUT / "config" / "default.yaml").read_text(encoding="utf-8"))
    keys = {f"{section}.{key}" for section, entries in shipped.items() for key in entries}
    assert len(keys) > 50
    assert [key for key in keys if f"{key}\n" not in told] == []
    row = told.partition("training.learning_rate\n")[2].split("\n")
    assert [line for line in row if line][:2] == ["0.003", "at the head"]


def test_every_variable_parameter_and_step_is_told(built: Path) -> None:
    environment, pipelines = (text_of(built / "reference" / f"{name}.html") for name in ("environment", "pipelines"))
    assert [name for name in settings.VARIABLES if f"{name}\n" not in environment] == []
    for path in (CHECKOUT / "pipelines" / "compiled").glob("*.yaml"):
        spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        steps = [name.removeprefix("exec-") for name in spec["deploymentSpec"]["executors"]]
        parameters = list(spec["root"].get("inputDefinitions", {}).get("parameters", {}))
        section = pipelines.partition(f"Parameters of {path.stem}")[2].partition("Parameters of ")[0]
        assert [one for one in parameters if f"{one}\n" not in section] == [], path.name
        assert [one for one in steps if f"{one}\n" not in section] == [], path.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_of_the_checkout(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link}
    assert [link for link in links if link and not (page.parent / link).exists()] == []
