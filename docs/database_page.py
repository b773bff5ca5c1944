"""`docs/database.md` and its diagram, from a real database whose schema is current.

    SILHOUETTE_POSTGRES_DSN=... python docs/database_page.py

The pages are committed, because a build has no database; a test holds them to the schema that the migrations make.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from markdown_text import code, prose, table

from silhouette.database import connect

if TYPE_CHECKING:
    import psycopg

DOCS = Path(__file__).resolve().parent
COLUMNS = [  # of the diagram, from the left
    ["pictures", "badlist", "installation"],
    ["segmentations", "people"],
    ["labels", "datasets", "groups"],
    ["status_changes", "ret_meta_posts"],
]
SAME = [  # joined by content, without a foreign key: a picture may be known by one and not by the other
    ("pictures.sha256", "segmentations.picture_sha256"),
    ("pictures.picture_id", "badlist.picture_id"),
    ("segmentations.picture_sha256", "labels.picture_sha256"),
    ("labels.picture_sha256", "status_changes.picture_sha256"),
]
WIDTH, GAP, LINE = 190, 70, 17


class Column(NamedTuple):
    """A column of a table: its type, whether it may be null, its default and its comment."""

    table: str
    name: str
    type: str
    needed: bool
    default: str
    comment: str


def columns(connection: psycopg.Connection) -> list[Column]:
    """Return every column of every table and view of the schema, but alembic's."""
    rows = connection.execute(
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               CASE a.attidentity WHEN '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), '') ELSE 'counts up' END,
               coalesce(col_description(c.oid, a.attnum), '')
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v')
          AND c.relname <> 'alembic_version'
        ORDER BY c.relname COLLATE "C", a.attnum
        """
    )
    return [Column(*row) for row in rows]


def constraints(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return (table, rule) of every key and check, as PostgreSQL writes it."""
    rows = connection.execute(
        """
        SELECT conrelid::regclass::text, pg_get_constraintdef(oid, true) FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0 AND contype <> 'n'
          AND conrelid::regclass::text <> 'alembic_version'
        ORDER BY 1, contype DESC, 2
        """
    )
    return [(str(name), str(rule)) for name, rule in rows]


def references(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return (from, to) of every foreign key, each as ``table.column``."""
    rows = connection.execute(
        """
        SELECT format('%s.%s', f.conrelid::regclass, a.attname), format('%s.%s', f.confrelid::regclass, b.attname)
        FROM pg_constraint f
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
        JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[1]
        WHERE f.contype = 'f' AND f.connamespace = current_schema()::regnamespace ORDER BY 1
        """
    )
    return [(str(source), str(target)) for source, target in rows]


def comments(connection: psycopg.Connection) -> dict[str, str]:
    """Return the comment of every table and view that has one."""
    rows = connection.execute(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class WHERE relkind IN ('r', 'v')"
        " AND relnamespace = current_schema()::regnamespace AND obj_description(oid, 'pg_class') IS NOT NULL"
    )
    return {str(name): str(comment) for name, comment in rows}


def page(connection: psycopg.Connection) -> str:
    """Return the page: the diagram, then each table with its columns and rules."""
    lines = [
        "# The database", "",
        "What PostgreSQL keeps: what is known of pictures, contours, decisions, the badlist, and what was posted.",
        "Pixels are in the store. Solid lines are foreign keys; dashed ones join by content, because either side may",
        "come first.",
        "", "![Tables, their columns, and how they refer to one another](database.svg)", "",
        "Migrations make and change it ([upgrade](upgrade.md)); how contours are packed is told in",
        "[segmentation format](segmentation_format.md), who may do what in [On a cluster](cluster.md#secrets).", "",
    ]  # fmt: skip
    told, rules, of_table = comments(connection), constraints(connection), columns(connection)
    for name in dict.fromkeys(column.table for column in of_table):
        lines += [f"## {name}", "", *([prose(told[name]), ""] if name in told else [])]
        rows = [
            (code(one.name), code(one.type), "" if one.needed else "may be null", code(one.default), prose(one.comment))
            for one in of_table
            if one.table == name
        ]
        lines += table(("column", "type", "", "default", "what"), rows)
        kept = [f"- {code(rule)}" for owner, rule in rules if owner == name]
        lines += ["It holds:", "", *kept, ""] if kept else []
    return "\n".join(lines)


def _box(name: str, rows: Iterable[str], x: int, y: int, places: dict[str, tuple[int, int]]) -> tuple[list[str], int]:
    names = list(rows)
    height = LINE * (len(names) + 1) + 14
    out = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{height}" rx="5" class="box"/>',
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{LINE + 6}" rx="5" class="head"/>',
        f'<text x="{x + 9}" y="{y + 16}" class="name">{escape(name)}</text>',
    ]
    for number, row in enumerate(names):
        middle = y + LINE * (number + 1) + 17
        places[f"{name}.{row}"] = (x, middle)
        out.append(f'<text x="{x + 9}" y="{middle + 4}">{escape(row)}</text>')
    return out, y + height + 26


def _line(source: tuple[int, int], target: tuple[int, int], kind: str) -> str:
    """Return a curve from one column's row to another's, at the sides that face each other."""
    (x0, y0), (x1, y1) = sorted((source, target))
    if x0 == x1:  # one below the other: around the left side
        return f'<path d="M{x0} {y0} C{x0 - 45} {y0} {x0 - 45} {y1} {x1} {y1}" class="{kind}"/>'
    x0 += WIDTH
    return f'<path d="M{x0} {y0} C{x0 + GAP // 2} {y0} {x1 - GAP // 2} {y1} {x1} {y1}" class="{kind}"/>'


def diagram(connection: psycopg.Connection) -> str:
    """Return the tables as an SVG.

    Raises:
        KeyError: `COLUMNS` or `SAME` names what the schema does not have.
        ValueError: A table has no place in `COLUMNS`.
    """
    of_table: dict[str, list[str]] = {}
    for one in columns(connection):
        of_table.setdefault(one.table, []).append(one.name)
    if missing := set(of_table) - {name for column in COLUMNS for name in column} - {"quarantine"}:
        raise ValueError(f"COLUMNS must have a place for every table, it has none for {sorted(missing)}; add it")
    places: dict[str, tuple[int, int]] = {}
    boxes, bottom = [], 0
    for number, names in enumerate(COLUMNS):
        y = 12
        for name in names:
            drawn, y = _box(name, of_table[name], 60 + number * (WIDTH + GAP), y, places)
            boxes += drawn
        bottom = max(bottom, y)
    lines = [_line(places[one], places[other], "key") for one, other in references(connection)]
    lines += [_line(places[one], places[other], "same") for one, other in SAME]
    width = 60 + len(COLUMNS) * (WIDTH + GAP)
    style = (
        "text{font:12px sans-serif;fill:#222}.name{font-weight:bold;fill:#fff}.box{fill:#fff;stroke:#3b6ea5}"
        ".head{fill:#3b6ea5}path{fill:none;stroke:#c2571a;stroke-width:1.6}.same{stroke-dasharray:5 4}"
    )
    ground = f'<rect width="{width}" height="{bottom}" fill="#f7f8fa"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom}" width="{width}" height="{bottom}">'
    return "\n".join([head, f"<style>{style}</style>", ground, *boxes, *lines, "</svg>", ""])


def main() -> None:
    """Write both files."""
    with connect() as connection:
        (DOCS / "database.md").write_text(page(connection), encoding="utf-8")
        (DOCS / "database.svg").write_text(diagram(connection), encoding="utf-8")


if __name__ == "__main__":
    main()
