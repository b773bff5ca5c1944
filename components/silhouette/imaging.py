"""The only decoder: guarded bytes to upright 8-bit RGB, and the one crop that training and serving share.

Reads bytes of a picture from anywhere, trusts neither its name nor its header, writes nothing.

What comes out is the same for every format: upright (the EXIF orientation is applied), uint8 RGB. Transparency is
laid over white, as a viewer shows it; 16-bit and float pictures are scaled, never clipped; CMYK is converted
without its profile. Of a HEIC or a TIFF with several pictures the primary or first one is taken; a moving GIF, PNG,
WebP or AVIF is refused, for which of its frames the label meant cannot be known.
"""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from silhouette.errors import InputError, PictureError

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.ImageFile import ImageFile

    Pixels = npt.NDArray[np.uint8]

# Pillow's remarks on odd EXIF and TIFF tags; the picture's fate is decided here. Set once: it is not thread-safe.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

DEFAULT_MAX_MEGAPIXELS = 89.0
OUTSIDE_GREY = 127  # beyond the picture's border: neutral; a replicated border would draw streaks a model can learn
_GIANT_PIXELS, _ONE_GIANT = 20e6, threading.Lock()  # giants are decoded one at a time: threads must not add them up
EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "HEIF": "heic",
    "AVIF": "avif",
    "BMP": "bmp",
    "TIFF": "tif",
    "GIF": "gif",
}
_SLOW_FORMATS = {"HEIF", "AVIF"}  # they take ten times as long to decode as a JPEG of their size
_MOVING = {"GIF", "PNG", "WEBP", "AVIF"}
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}
_HEIF_MOVIES = {b"hevc", b"hevx", b"msf1"}
_ORIENTATION = 0x0112  # EXIF tag
_BITS_PER_SAMPLE = 258  # TIFF tag
_CUT_SHORT = ("truncated", "unexpected end", "end of file", "eof", "not enough", "too short", "incomplete")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An opened picture.

    Attributes:
        pixels: uint8 RGB [height, width, 3], upright; smaller than the original when `longest_side` asked for it.
        width: Of the upright original, pixels.
        height: Of the upright original, pixels.
        format: What the bytes really are, a key of `EXTENSIONS`.
        extension: The file ending that belongs to it, without a dot.
    """

    pixels: Pixels
    width: int
    height: int
    format: str
    extension: str


def open_picture(
    data: bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, longest_side: int | None = None
) -> Picture:
    """Open a picture's bytes.

    Args:
        data: The file's bytes.
        max_megapixels: Refuse larger ones, in millions of pixels; checked before a pixel is decoded.
        longest_side: Shrink the pixels to it, never enlarge; JPEGs are then decoded at a fraction of the cost.

    Raises:
        PictureError: With the reason ``empty``, ``unsupported``, ``animated``, ``too_large``, ``truncated`` or
            ``corrupt``.
    """
    return _open(data, max_megapixels, lambda _kind, _width, _height: longest_side, shrink_to=longest_side)


def check_picture(data: bytes, *, max_megapixels: float, working_side: int, probe_side: int) -> Picture:
    """Open a picture at the door: all of its bytes are read, and no more pixels made than are wanted.

    Args:
        data: The file's bytes.
        max_megapixels: As in `open_picture`.
        working_side: A picture that deserves a working copy comes back with at most this longest side.
        probe_side: Any other need not be larger than this: a JPEG comes back at the scale of an eighth, quarter or
            half that is not smaller. Reading it so still reads all of it.

    Raises:
        PictureError: As in `open_picture`.
    """

    def side_of(kind: str, width: int, height: int) -> int:
        return working_side if deserves_working_copy(kind, width, height, working_side) else probe_side

    return _open(data, max_megapixels, side_of, shrink_to=working_side)


def deserves_working_copy(kind: str, width: int, height: int, working_side: int) -> bool:
    """Tell whether later steps had better read a smaller JPEG: the picture is larger, or slow to decode."""
    return max(width, height) > working_side or kind in _SLOW_FORMATS


def _open(
    data: bytes,
    max_megapixels: float,
    side_of: Callable[[str, int, int], int | None],
    *,
    shrink_to: int | None,
) -> Picture:
    """Decode at the scale that leaves at least `side_of` (kind, width, height), then shrink to `shrink_to`."""
    kind = _kind(data)
    try:
        header = _read_header(data, kind)
        width, height = header.size
        _check_header(header, kind, max_megapixels)
        least_side = side_of(kind, width, height)
        with _ONE_GIANT if width * height > _GIANT_PIXELS else nullcontext():
            pixels = _decode_jpeg(data, header, least_side) if kind == "JPEG" else None
            if pixels is None:
                pixels = _to_rgb(header)
        turned = _orientation(header)
    except PictureError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parser stumbles over, ten types and more
        raise _refusal(error, kind) from error
    pixels = _upright(pixels, turned)
    if turned >= 5:  # lying on its side
        width, height = height, width
    return Picture(
        pixels=shrink(pixels, shrink_to),
        width=width,
        height=height,
        format=kind,
        extension=EXTENSIONS[kind],
    )


def _kind(data: bytes) -> str:
    """Tell the format by its content."""
    if not data:
        raise PictureError("empty", "the file holds no bytes")
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        length = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[start : start + 4] for start in range(16, length, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if data[8:12] in _HEIF_MOVIES:
            raise PictureError("animated", "a HEIF sequence; send one still picture")
        if brands & _HEIF_BRANDS:
            return "HEIF"
    raise PictureError(
        "unsupported", f"a picture must be one of {', '.join(EXTENSIONS)}, these bytes begin with {data[:8]!r}"
    )


def _read_header(data: bytes, kind: str) -> ImageFile:
    """Read the header with the one plugin that is meant: `Image.open` guesses, and ultralytics replaces it."""
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    stream = io.BytesIO(data)
    if kind == "HEIF":
        import pillow_heif

        picture: ImageFile = pillow_heif.HeifImageFile(stream)
        return picture
    plugins: dict[str, type[ImageFile]] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    return plugins[kind](stream)


def _check_header(header: ImageFile, kind: str, max_megapixels: float) -> None:
    width, height = header.size
    if width < 1 or height < 1:
        raise PictureError("corrupt", f"a picture must have pixels, its header says {width}x{height}")
    if width * height > max_megapixels * 1e6:
        raise PictureError(
            "too_large",
            f"at most {max_megapixels:g} megapixels are opened, its header says {width}x{height};"
            " raise pictures.max_megapixels",
        )
    if kind in _MOVING and getattr(header, "is_animated", False):
        raise PictureError("animated", "it has more than one frame; send one still picture")


def _refusal(error: Exception, kind: str) -> PictureError:
    text = f"{type(error).__name__}: {error}"
    if type(error).__name__.startswith("DecompressionBomb") or "too large" in text:
        return PictureError("too_large", f"{kind}, {text}")
    if isinstance(error, (EOFError, IndexError, struct.error)) or any(word in text.lower() for word in _CUT_SHORT):
        return PictureError("truncated", f"{kind}, {text}")
    return PictureError("corrupt", f"{kind}, {text}")


def _decode_jpeg(data: bytes, header: ImageFile, longest_side: int | None) -> Pixels | None:
    """Decode with OpenCV: the same pixels in half the time. None: Pillow decides (CMYK, or damaged)."""
    if header.mode not in ("RGB", "L"):
        return None
    step = 1
    while longest_side and step < 8 and max(header.size) // (2 * step) >= longest_side:
        step *= 2
    reduced = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
    if step > 1:
        flags = reduced[step] | cv2.IMREAD_IGNORE_ORIENTATION
    else:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None:
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if step > 1 else pixels


def _to_rgb(header: ImageFile) -> Pixels:
    """Decode whatever mode it is to uint8 RGB [height, width, 3]."""
    from PIL import Image

    header.load()
    if header.mode.startswith(("I", "F")):
        return _scale_deep(header)
    picture: Image.Image = header
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = Image.new("RGBA", over.size, (255, 255, 255, 255))
        picture.alpha_composite(over)
    return np.array(picture.convert("RGB"))


def _scale_deep(header: ImageFile) -> Pixels:
    """Scale one deep channel (16-bit, 32-bit or float) to 8 bits by the range that it was stored in."""
    values = np.nan_to_num(np.asarray(header, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(values.max())
    if header.mode == "F":
        white = highest if highest > 1 else 1.0
    else:
        bits = getattr(header, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        white = max(2.0 ** min(bits, 16) - 1, highest)
    grey = np.clip(values * (255 / white) + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _orientation(header: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 when there is none or the EXIF block is damaged."""
    if header.format in ("TIFF", "HEIF"):  # turned by their plugins
        return 1
    try:
        value = header.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  damaged EXIF raises OSError, SyntaxError, struct.error ...; the pixels are good
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation; https://exiftool.org/TagNames/EXIF.html, tag 0x0112."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def shrink(pixels: Pixels, longest_side: int | None) -> Pixels:
    """Scale a picture down to a longest side, pixels; smaller ones, and all without a side, stay as they are."""
    height, width = pixels.shape[:2]
    if not longest_side or max(height, width) <= longest_side:
        return pixels
    scale = longest_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return shrunk


def square_of(box_xyxy: tuple[float, float, float, float], margin: float) -> tuple[int, int, int]:
    """Return the square around a box's centre as (x0, y0, side), whole pixels; it may reach beyond the picture.

    Args:
        box_xyxy: In pixels of the upright picture.
        margin: Added on each side, as a fraction of the box's longer side.

    Raises:
        InputError: The box has no area or is not finite.
    """
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    if not (all(map(math.isfinite, (x0, y0, x1, y1))) and x1 > x0 and y1 > y0):
        raise InputError(f"a box must be x0 y0 x1 y1 with x0 < x1 and y0 < y1, got {tuple(box_xyxy)}")
    side = max(1, round(max(x1 - x0, y1 - y0) * (1 + 2 * margin)))
    return round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2), side


def crop_square(pixels: Pixels, box_xyxy: tuple[float, float, float, float], *, size: int, margin: float) -> Pixels:
    """Cut the square around a box and scale it; the one crop of training and of serving.

    Args:
        pixels: uint8 RGB [height, width, 3], upright.
        box_xyxy: In pixels of `pixels`.
        size: Side of the result, pixels.
        margin: As in `square_of`.

    Returns:
        uint8 [size, size, 3]; what lies outside the picture is grey 127.
    """
    return _scale(_cut(pixels, square_of(box_xyxy, margin), OUTSIDE_GREY), size)


def crop_square_mask(
    mask: npt.NDArray[np.uint8] | npt.NDArray[np.bool_],
    box_xyxy: tuple[float, float, float, float],
    *,
    size: int,
    margin: float,
) -> Pixels:
    """Cut a mask by the same geometry as `crop_square`.

    Args:
        mask: [height, width] of the upright picture; not 0 means person.
        box_xyxy: As in `crop_square`.
        size: Side of the result, pixels.
        margin: As in `square_of`.

    Returns:
        uint8 [size, size]: 255 where at least half of the pixel is person, else 0; 0 outside the picture.
    """
    cut = _cut(np.asarray(mask != 0, dtype=np.uint8) * np.uint8(255), square_of(box_xyxy, margin), 0)
    return np.where(_scale(cut, size) >= 128, np.uint8(255), np.uint8(0))


def cut_person(
    pixels: Pixels,
    mask: npt.NDArray[np.uint8] | npt.NDArray[np.bool_],
    box_xyxy: tuple[float, float, float, float],
    *,
    size: int,
    margin: float,
    background: str,
) -> tuple[Pixels, Pixels]:
    """Cut a person out of a picture; what `build_dataset` stores and `classify_pictures` sends.

    Args:
        pixels: uint8 RGB [height, width, 3], upright.
        mask: [height, width]; not 0 means this person.
        box_xyxy: In pixels of `pixels`.
        size: Side of the result, pixels.
        margin: As in `square_of`.
        background: ``keep``, or ``grey`` to fill what is not the person with grey 127.

    Returns:
        The crop, uint8 [size, size, 3], and its mask, uint8 [size, size], 0 or 255.
    """
    crop = crop_square(pixels, box_xyxy, size=size, margin=margin)
    cut = crop_square_mask(mask, box_xyxy, size=size, margin=margin)
    if background == "grey":
        crop = np.where(cut[:, :, None] > 0, crop, np.uint8(OUTSIDE_GREY))
    return crop, cut


def _cut(pixels: Pixels, square: tuple[int, int, int], outside: int) -> Pixels:
    x0, y0, side = square
    height, width = pixels.shape[:2]
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + side, width), min(y0 + side, height)
    if (left, top, right, bottom) == (x0, y0, x0 + side, y0 + side):
        return pixels[top:bottom, left:right]
    canvas = np.full((side, side, *pixels.shape[2:]), outside, np.uint8)
    if left < right and top < bottom:
        canvas[top - y0 : bottom - y0, left - x0 : right - x0] = pixels[top:bottom, left:right]
    return canvas


def _scale(square: Pixels, size: int) -> Pixels:
    shrinking = square.shape[0] > size
    scaled: Pixels = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return scaled
