"""Put what a run of the sample group says and shows into the pages: outputs as text, its three pages as pictures.

    make clean
    .venv/bin/python docs/show_run.py

Reads the pages' comments ``<!-- output of COMMAND -->``, runs each command once in the checkout, in the order of the
pages, and writes what it prints into the code block below. ``| lines a, b`` keeps the lines that begin so,
``| first 5`` the first ones. Then photographs the quality page, the report and the gallery of the last training run
with Chromium, which must be installed, and writes docs/first_run/*.png.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = (CHECKOUT / "docs" / "start.md", CHECKOUT / "README.md")
PICTURES = CHECKOUT / "docs" / "first_run"
SHOWN = {  # what a run leaves, and how many pixels of its page are shown
    "quality": ("download-pictures/dataset/quality.html", 580),
    "report": ("evaluate-model/evaluation/report.html", 960),
    "report_top": ("evaluate-model/evaluation/report.html", 420),
    "gallery": ("classify-pictures/predictions/gallery.html", 630),
}
_WIDTH, _COLOURS = 1000, 256
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_MARK = re.compile(
    r"(?P<mark><!-- output of (?P<command>[^|\n]+?)(?: \| (?P<keep>lines|first) (?P<what>[^\n]+?))? -->\n+```\n)"
    r".*?(?P<end>^```$)",
    flags=re.DOTALL | re.MULTILINE,
)


def filled(page: str, output_of: Callable[[str], str]) -> str:
    """Return a page with every marked block written anew.

    Args:
        page: Its text.
        output_of: Gives what a command prints.

    Raises:
        ValueError: A block would be empty.
    """

    def block(found: re.Match[str]) -> str:
        lines = [line.rstrip() for line in output_of(found["command"]).strip("\n").splitlines()]
        if found["keep"] == "lines":
            wanted = tuple(name.strip() for name in found["what"].split(","))
            lines = [line for line in lines if line.startswith(wanted)]
        elif found["keep"] == "first":
            lines = lines[: int(found["what"])]
        if not lines:
            raise ValueError(f"the output of {found['command']!r} must have the lines that the page shows, it has none")
        return found["mark"] + "\n".join(lines) + "\n" + found["end"]

    return _MARK.sub(block, page)


def run(command: str) -> str:
    """Return what a command prints in the checkout, whose place is told as a reader's."""
    environ = {**os.environ, "PATH": f"{CHECKOUT / '.venv' / 'bin'}:{os.environ['PATH']}"}
    sys.stderr.write(f"$ {command}\n")
    words = shlex.split(command)
    done = subprocess.run(words, cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.replace(str(CHECKOUT), "/home/you/silhouette")


def photograph(page: Path, target: Path, *, height: int) -> None:
    """Write the top of a page as a PNG of few colours.

    Raises:
        FileNotFoundError: There is no Chromium.
    """
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise FileNotFoundError(f"one of {', '.join(_BROWSERS)} must be on the PATH, none is; install Chromium")
    with tempfile.TemporaryDirectory(prefix="silhouette-browser-") as scratch:
        taken = Path(scratch) / "page.png"
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={scratch}",
             f"--window-size={_WIDTH},{height}", f"--screenshot={taken}", page.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        with Image.open(taken) as picture:
            few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        few.save(target, optimize=True)


def main() -> None:
    """Run the commands, write the pages, take the pictures."""
    said: dict[str, str] = {}

    def output_of(command: str) -> str:
        if command not in said:
            said[command] = run(command)
        return said[command]

    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), output_of), encoding="utf-8")
    last = max((CHECKOUT / ".silhouette" / "runs").glob("training-*"))
    PICTURES.mkdir(exist_ok=True)
    for name, (place, height) in SHOWN.items():
        photograph(last / place, PICTURES / f"{name}.png", height=height)


if __name__ == "__main__":
    main()
