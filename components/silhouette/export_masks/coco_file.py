"""COCO files for annotation tools, written picture by picture, so that a group never has to fit into memory.

Two files with the same people, each exact, because the tools read different parts of COCO:

- `INSTANCES_NAME` for CVAT and everything that reads with pycocotools: one part without holes is a polygon, anything
  else is RLE, which CVAT shows as a mask to paint on. CVAT takes the annotations of a picture by the stem of
  ``file_name``, categories by name, wants ``iscrowd`` and ``bbox`` in every entry and category ids from 1; that is
  what datumaro, its reader, asks for (datumaro 1.13, plugins/data_formats/coco/base.py, `_load_annotations`; CVAT,
  dataset_manager/bindings.py, `match_dm_item`). RLE has ``iscrowd`` 1, as COCO's own data has: only then, and with an
  attribute ``is_crowd`` on the label, does CVAT write RLE again (docs.cvat.ai, formats/coco), else outer rings.
- `LABEL_STUDIO_NAME` for `label-studio-converter import coco`: one polygon a person. The converter goes through
  ``segmentation`` as a list of polygons, each a region of its own, and fails on RLE (label-studio-sdk 2.1,
  converter/imports/coco.py, `convert_coco_to_ls`: "RLE in segmentation is not yet supported in COCO").

Both take what they do not know (``picture_id``, ``shared`` ...) as noise. Nothing in the files changes with the clock.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from silhouette.contracts.contour_formats import CocoAnnotation
from silhouette.contracts.markup import CATEGORY, CATEGORY_ID

_LICENCES = [{"id": 0, "name": "", "url": ""}]
_CATEGORIES = [{"id": CATEGORY_ID, "name": CATEGORY, "supercategory": ""}]


class CocoFile:
    """A COCO file that grows; it is there when the block ends without an error.

    Args:
        path: Where it will be; two parts of it are kept beside it meanwhile.
        group: For `info`.
    """

    def __init__(self, path: Path, *, group: str) -> None:
        self._path, self._group = path, group
        self._images: _Lines
        self._annotations: _Lines

    def __enter__(self) -> CocoFile:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._images = _Lines(self._path.with_suffix(".images"))
        self._annotations = _Lines(self._path.with_suffix(".annotations"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for part in (self._images, self._annotations):
            part.file.close()
        if kind is None:
            self._put_together()
        for part in (self._images, self._annotations):
            part.path.unlink(missing_ok=True)

    def add(self, image: dict[str, Any], annotations: list[CocoAnnotation]) -> None:
        """Add a picture and its people."""
        self._images.add(image)
        for annotation in annotations:
            self._annotations.add(annotation)

    def _put_together(self) -> None:
        info = {"description": f"people of group {self._group}", "version": "1", "contributor": "Silhouette"}
        head = {"info": info, "licenses": _LICENCES, "categories": _CATEGORIES}
        with self._path.open("wb") as file:
            file.write(json.dumps(head, ensure_ascii=False)[:-1].encode())
            for name, part in (("images", self._images), ("annotations", self._annotations)):
                file.write(f', "{name}": [\n'.encode())
                with part.path.open("rb") as lines:
                    shutil.copyfileobj(lines, file)
                file.write(b"\n]")
            file.write(b"}\n")


class _Lines:
    """Entries of a JSON list, one a line, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[bytes] = path.open("wb")
        self._any = False

    def add(self, entry: Any) -> None:
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        self.file.write((",\n" if self._any else "").encode() + text.encode())
        self._any = True
