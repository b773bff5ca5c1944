"""What the pages show of a run is what the run says, and is taken anew by one command."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from tests.browser import find_browser

CHECKOUT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("show_run", CHECKOUT / "docs" / "show_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHOW = load()
PAGE = """Before.
<!-- output of say it | lines two, three -->
```
old
```
Between.
<!-- output of say it | first 1 -->

```
old
```
```
not marked
```
"""


def test_marked_blocks_are_written_anew_and_nothing_else() -> None:
    asked: list[str] = []

    def say(command: str) -> str:
        asked.append(command)
        return "\none 1  \ntwo 2\nthree 3\nfour\n"

    found = SHOW.filled(PAGE, say)
    assert asked == ["say it", "say it"]
    assert found == PAGE.replace("old", "two 2\nthree 3", 1).replace("old", "one 1")
    assert SHOW.filled(found, say) == found


def test_an_output_without_the_lines_of_the_page_is_refused() -> None:
    with pytest.raises(ValueError, match="the output of 'say it' must have the lines that the page shows, it has none"):
        SHOW.filled(PAGE, lambda _: "five")


def test_the_pages_show_outputs_with_the_lines_of_a_run() -> None:
    summary = (CHECKOUT / "pipelines" / "summary.py").read_text(encoding="utf-8")
    for page in SHOW.PAGES:
        text = page.read_text(encoding="utf-8")
        marked = list(SHOW._MARK.finditer(text))
        assert text.count("<!-- output of") == len(marked) > 0
        assert all(len(found[0].removeprefix(found["mark"]).strip("`\n")) > 0 for found in marked)
        (run,) = (found for found in marked if found["command"] == "make run")
        names = [name.strip() for name in run["what"].split(",")]
        assert [name for name in names if f'"{name}"' not in summary] == []
        rows = run[0].removeprefix(run["mark"]).splitlines()[:-1]
        assert [re.split(r"  +", row)[0] for row in rows] == names


@pytest.mark.parametrize("name", sorted(SHOW.SHOWN))
def test_a_picture_of_the_run_is_shown_and_small(name: str) -> None:
    path = SHOW.PICTURES / f"{name}.png"
    assert path.stat().st_size < 200_000
    with Image.open(path) as picture:
        assert picture.size == (1000, SHOW.SHOWN[name][1])
    assert any(f"first_run/{name}.png)" in page.read_text(encoding="utf-8") for page in SHOW.PAGES)


@pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
def test_a_page_is_photographed(tmp_path: Path) -> None:
    page = tmp_path / "a page.html"
    page.write_text("<body style='margin:0;background:#3465c8'></body>", encoding="utf-8")
    SHOW.photograph(page, tmp_path / "a.png", height=600)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1000, 600)
        assert picture.convert("RGB").getpixel((500, 300)) == (0x34, 0x65, 0xC8)
