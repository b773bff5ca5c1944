"""The page has the counts and the most doubtful pictures, stands alone, and shows nothing of the badlist."""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path

import psycopg
import pytest

from silhouette.database import badlist
from silhouette.database.report import count_groups
from silhouette.errors import InputError
from silhouette.inspect_database.gallery import write_gallery
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HOLED, OTHER_MODEL, PLAIN, World
from tests.import_masks.test_import import coco, exported, handed, redraw, take

__all__ = ["exported"]  # a fixture


def page(world: World, folder: Path, *, samples: int = 12) -> str:
    groups = count_groups(world.connection)
    write_gallery(folder / "g.html", groups=groups, connection=world.connection, store=world.store, samples=samples)
    text = (folder / "g.html").read_text(encoding="utf-8")
    if kept := os.environ.get("KEEP_GALLERY"):
        shutil.copyfile(folder / "g.html", kept)
    return html.unescape(text)


def shown(text: str) -> list[str]:
    return re.findall(r'alt="([^"]*)"', text)


def test_every_status_of_every_model_has_its_pictures(world: World, exported: Path, tmp_path: Path) -> None:
    world.decide("plain", "approved")
    world.decide("empty", "nobody", reviewer="clara")
    _, content = coco(exported)
    redraw(content, world.name("holed/№ 1"), [HOLED[0], PLAIN[1]])
    take(world, handed(exported, content))
    world.segment("plain", PLAIN, model=OTHER_MODEL, scores=[0.3, 0.9])
    text = page(world, tmp_path)
    assert GROUP in text
    assert sorted(set(shown(text))) == sorted(world.rows)
    for part in ("drawn by anna", "nobody by clara", "corrected by markers", "lowest score 0.30"):
        assert part in text, part


def test_the_most_doubtful_come_first_and_only_so_many(
    fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    world = worlds.bring(fresh_store, connection, [f"p{number}" for number in range(5)])
    for number, picture_id in enumerate(world.rows):
        world.segment(picture_id, PLAIN, scores=[0.9, 0.3 + (number * 3 % 5) / 10])
    assert shown(page(world, tmp_path, samples=3)) == ["p0", "p2", "p4"]


def test_the_badlist_is_counted_and_not_shown(world: World, tmp_path: Path) -> None:
    badlist.add(world.connection, ["plain"])
    text = page(world, tmp_path)
    assert "plain" not in shown(text)
    assert world.rows["plain"].sha256 not in text
    assert re.search(r"<b>1</b>on the badlist", text)


def test_it_stands_alone_and_a_picture_that_is_gone_is_told(world: World, tmp_path: Path) -> None:
    world.store.remove(world.rows["plain"].object_key)
    text = page(world, tmp_path)
    assert not re.findall(r'(?:src|href)="(?!data:image/jpeg)', text)
    assert "the store must hold the object" in text
    assert len(shown(text)) == 3


def test_odd_names_are_text_and_not_markup(fresh_store: Store, connection: psycopg.Connection, tmp_path: Path) -> None:
    world = worlds.bring(fresh_store, connection, ["<script>x</script>"], group="<b>group</b>")
    world.segment("<script>x</script>", PLAIN)
    groups = count_groups(connection)
    write_gallery(tmp_path / "g.html", groups=groups, connection=connection, store=fresh_store, samples=1)
    text = (tmp_path / "g.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "<b>group" not in text


@pytest.mark.parametrize("samples", [0, 201])
def test_a_number_of_samples_out_of_range_is_one_line(world: World, tmp_path: Path, samples: int) -> None:
    with pytest.raises(InputError, match="--samples must be from 1 to 200"):
        page(world, tmp_path, samples=samples)


def test_a_page_that_cannot_be_written_is_one_line(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--gallery must be a file that can be written"):
        page(world, tmp_path / "missing")
