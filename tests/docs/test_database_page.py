"""The committed page of the database, and its diagram, are those of the schema that the migrations make."""

from __future__ import annotations

import runpy
from pathlib import Path

from silhouette.database import connect

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_and_the_diagram_are_those_of_the_schema(postgres_dsn: str) -> None:
    made = runpy.run_path(str(DOCS / "database_page.py"))
    with connect(postgres_dsn) as connection:
        page, diagram = made["page"](connection), made["diagram"](connection)
    way_out = "run `python docs/database_page.py` with SILHOUETTE_POSTGRES_DSN set"
    assert (DOCS / "database.md").read_text(encoding="utf-8") == page, way_out
    assert (DOCS / "database.svg").read_text(encoding="utf-8") == diagram, way_out
    assert "| `contours` | `bytea` |" in page
