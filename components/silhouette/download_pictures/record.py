"""What the store remembers of a picture: ``meta/<picture key>.json``, written after the picture itself.

So a record means finished work, and a run that was killed between the two does that one picture again. A picture of
the service is remembered under its id, for only the service can tell that it changed; a picture of a folder under
its content, which is hashed anyway.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from silhouette.config import PicturesConfig
from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.picture_source.listing import SourcePicture
from silhouette.store import Store

DECODER = 1  # raise it when silhouette.imaging accepts more or less than before: refusals are then judged again


class PictureRecord(BaseModel):
    """A picture that was fetched: where its bytes are, or why it was refused (`reason` is then not empty)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    picture_id: str
    stamp: str
    sha256: str = ""
    size_bytes: int = 0
    width: int = 0
    height: int = 0
    object_key: str = ""
    reason: str = ""
    detail: str = ""
    max_megapixels: float
    max_megabytes: float
    decoder: int = DECODER

    def holds_for(self, picture: SourcePicture, limits: PicturesConfig) -> bool:
        """Tell whether fetching the picture again under these limits would end in this record."""
        if self.stamp != picture.stamp:
            return False
        if self.reason:
            judged = (self.max_megapixels, self.max_megabytes, self.decoder)
            return judged == (limits.max_megapixels, limits.max_megabytes, DECODER)
        small = self.width * self.height <= limits.max_megapixels * 1e6
        return small and self.size_bytes <= limits.max_megabytes * 1e6


def record_key(picture: SourcePicture, *, by_content: bool) -> str:
    """Return the key of a picture's record."""
    return f"meta/{picture.sha256 if by_content else safe_key(picture.picture_id)}.json"


def read_record(store: Store, key: str) -> PictureRecord | None:
    """Return the record under `key`, or None when there is none that can be read."""
    try:
        return PictureRecord.model_validate_json(store.get_bytes(key))
    except (InputError, ValidationError):  # never written, or by another version: the picture is done again
        return None


def write_record(store: Store, key: str, record: PictureRecord) -> None:
    """Write the record, over an older one."""
    store.put_bytes(key, record.model_dump_json(indent=1).encode(), content_type="application/json")
