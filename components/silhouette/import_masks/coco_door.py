"""A COCO file from elsewhere: everything is checked before anything is made of it.

Read by hand, never by pycocotools, whose C code ends the process on a hostile polygon. What a tool adds is passed over:
crowd marks, boxes without an outline (Label Studio writes one beside every polygon), entries of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from silhouette.contracts.contour_formats import read_coco_segmentation
from silhouette.contracts.contours import Contours
from silhouette.contracts.markup import CATEGORY
from silhouette.errors import InputError
from silhouette.import_masks.returned import Exported, Refused, Returned

MOST_BYTES = 512 << 20  # read whole, some six times as much in memory
_WAY_OUT = "export the annotations again as COCO"
_Entries = list[tuple[int, dict[str, Any]]]  # with their place in the file's list


def read_coco(path: Path) -> Iterator[Returned | Refused]:
    """Yield the pictures of a COCO file, or why it is none."""
    try:
        content = _content(path)
        categories = _categories(content["categories"])
    except InputError as error:
        yield Refused(where=str(path), why=str(error))
        return
    of_image: dict[Any, _Entries] = {}
    for place, entry in enumerate(content["annotations"]):
        image_id = entry.get("image_id") if isinstance(entry, dict) else None
        if type(image_id) is not int:
            yield _refused(path, f"annotations[{place}]", "an annotation must have the id of its image, this has none")
            continue
        of_image.setdefault(image_id, []).append((place, entry))
    seen: set[int] = set()
    for place, image in enumerate(content["images"]):
        where = f"images[{place}]"
        if not isinstance(image, dict) or type(image.get("id")) is not int or type(image.get("file_name")) is not str:
            yield _refused(path, where, "an image must have an id, a whole number, and a file_name")
        elif image["id"] in seen:
            yield _refused(path, where, f"an image must have an id of its own, {image['id']} is another's")
        else:
            seen.add(image["id"])
            entries = of_image.pop(image["id"], [])
            yield Returned(
                where=f"{path}: {where} {image['file_name'][:200]!r}",
                file_name=image["file_name"],
                read=partial(_read, image=image, entries=entries, categories=categories),
            )
    for image_id, entries in of_image.items():
        yield _refused(path, f"annotations[{entries[0][0]}]", f"its image must be in the file, {image_id} is not")


def _refused(path: Path, where: str, why: str) -> Refused:
    return Refused(where=f"{path}: {where}", why=f"{why}; {_WAY_OUT}")


def _content(path: Path) -> dict[str, list[Any]]:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(
                f"a COCO file must have at most {MOST_BYTES >> 20} MiB, it has {size >> 20}; hand it in in parts"
            )
        content = json.loads(path.read_bytes(), parse_constant=_no_number)
    except RecursionError:
        raise InputError(f"it must be a COCO file, it is nested too deep; {_WAY_OUT}") from None
    except OSError as error:
        raise InputError(f"it must be a readable file, got: {error.strerror or error}; correct the path") from None
    except ValueError as error:
        raise InputError(f"it must be JSON in UTF-8, got: {str(error)[:200]}; {_WAY_OUT}") from None
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or any(not isinstance(content.get(name), list) for name in lists):
        raise InputError(f"it must be a COCO file with the lists {', '.join(lists)}, it is not; {_WAY_OUT}")
    return content


def _no_number(word: str) -> float:
    raise ValueError(f"{word}, which is no number of JSON")


def _categories(entries: Sequence[Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or type(entry.get("name")) is not str:
            raise InputError(f"categories[{place}] must have an id, a whole number, and a name; {_WAY_OUT}")
        if entry["id"] in found:
            raise InputError(f"categories[{place}] must have an id of its own, got {entry['id']}; {_WAY_OUT}")
        found[entry["id"]] = entry["name"]
    return found


def _read(
    exported: Exported, *, image: dict[str, Any], entries: _Entries, categories: dict[int, str]
) -> list[Contours]:
    size = (image.get("width"), image.get("height"))
    if size != (exported.width, exported.height):
        raise InputError(
            f"width and height must be those of the picture, {exported.width}x{exported.height}, got"
            f" {str(size[0])[:20]}x{str(size[1])[:20]}; mark it in its own size"
        )
    people = []
    for place, entry in entries:
        where = f"annotations[{place}]"
        category_id = entry.get("category_id")
        category = categories.get(category_id) if type(category_id) is int else None
        if category != CATEGORY:
            named = f"{category[:60]!r}" if category is not None else f"the unknown id {str(category_id)[:20]}"
            raise InputError(f"{where}: its category must be {CATEGORY!r}, got {named}; mark people only")
        if entry.get("segmentation") in ([], None) and "bbox" in entry:
            continue  # a box
        try:
            people.append(
                read_coco_segmentation(entry.get("segmentation"), width=exported.width, height=exported.height)
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if people[-1].is_empty:
            raise InputError(f"{where}: a person must cover a pixel of the picture, it covers none; remove it")
    return people
