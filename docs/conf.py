"""How Sphinx makes the documentation: `make docs` reads docs/*.md and the code, and writes build/docs.

The reference pages are written anew into docs/reference/ by `reference.py` before anything is read; they are not
committed. Nothing is fetched: links are not followed, and the theme brings its own files.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

project = "Silhouette"
author = "the Silhouette team"
html_title = "Silhouette"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["notebooks"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["silhouette.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
highlight_language = "none"  # a block without a language is what a program printed

myst_heading_anchors = 4  # `page.md#a-heading` as code hosts make them
# A file of the checkout that is no page: from build/docs its place is two folders up.
myst_url_schemes = {"http": None, "https": None, "checkout": "../../{{path}}"}

_OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")


def point_into_the_checkout(_app: Sphinx, page: str, source: list[str]) -> None:
    """Let a link out of docs/, which a code host follows as it is, lead to the file of the checkout."""
    if "/" not in page:
        source[0] = _OUTSIDE.sub(r"](checkout:\1)", source[0])


def write_reference(_app: Sphinx) -> None:
    """Write the pages that come from the code before Sphinx looks for pages."""
    from reference import write

    write(DOCS / "reference")


def setup(app: Sphinx) -> None:
    """Connect both; bytes in hexadecimal are shown as they are."""
    app.add_lexer("hex", TextLexer)
    app.connect("builder-inited", write_reference)
    app.connect("source-read", point_into_the_checkout)
