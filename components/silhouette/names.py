"""The one mapping from any name to a key that is safe everywhere.

A group, pixset or picture id is an opaque string: it may hold spaces, slashes, quotes, Cyrillic, ``..`` or
300 characters. `safe_key` makes of it a key that can stand in object keys, Triton model names, Kubernetes
labels and file names. The raw name stays in the data; a key is never turned back into a name.
"""

import hashlib
import re
import unicodedata

MAX_KEY_LENGTH = 50  # a Kubernetes label holds 63; room is left for a prefix
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9]|[_-](?![_-])){0,48}[a-z0-9]|[a-z0-9]")
_DIGEST_LENGTH = 16
_MAX_FILE_NAME_BYTES = 180  # a file system holds 255; room is left for an ending and what marks half a file
_UNSAFE_IN_FILES = re.compile(
    r'[/\\:*?"<>|]|^[ .~-]|[ .]$|--[0-9a-f]{16}$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE
)


def safe_key(name: str) -> str:
    """Map a name to a key of ``[a-z0-9_-]``, 1 to 50 characters long, starting and ending alphanumeric.

    A plain name (``tits_size``, ``summer-2``) is its own key. Any other becomes a readable slug, two hyphens
    and 16 hexadecimal digits of its SHA-256. No plain name holds two hyphens or underscores in a row, so the
    two kinds never meet: the mapping is injective up to SHA-256 collisions of 64 bits.

    Args:
        name: Any text, the empty string included.
    """
    if _PLAIN.fullmatch(name):
        return name
    return _digested(name)


def _digested(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")
    slug = slug[: MAX_KEY_LENGTH - _DIGEST_LENGTH - 2].strip("-") or "x"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{slug}--{digest}"


def file_name(name: str) -> str:
    """Return a name for a file or folder that people open by hand: the name itself where every system takes it.

    Any other becomes a slug with a digest, as `safe_key` makes them; no name that stays looks like one, so that the
    mapping is injective as well.
    """
    if (
        name
        and name.isprintable()
        and len(name.encode("utf-8", "surrogatepass")) <= _MAX_FILE_NAME_BYTES
        and unicodedata.is_normalized("NFC", name)
        and not _UNSAFE_IN_FILES.search(name)
    ):
        return name
    return _digested(name)


def is_text(name: str) -> bool:
    """Tell whether a name can be kept by every database: no NUL, no half of a surrogate pair."""
    try:
        return b"\0" not in name.encode()
    except UnicodeEncodeError:
        return False
