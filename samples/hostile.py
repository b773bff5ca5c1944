"""Make picture files that must not stop a run: `python -m samples.hostile --to FOLDER`.

Reads nothing; writes one file a case into the folder. Each case says what a guarded loader has to answer: "ok" (it
can be opened, upright, as RGB) or "refused" (recorded with a reason, and the run goes on). The cases are damaged in
ways that users' folders hold: cut transfers, error pages saved as pictures, phone turns, bombs.
"""

from __future__ import annotations

import argparse
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

Expected = Literal["ok", "refused"]
BOMB_SIDE = 20_000


@dataclass(frozen=True)
class HostileFile:
    """One file in the folder, what a loader must answer, and why."""

    name: str
    expected: Expected
    reason: str


def make_hostile(folder: Path) -> list[HostileFile]:
    """Write all hostile files into `folder` (made if missing) and return what each must lead to."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, content, expected, reason in _cases():
        (folder / name).write_bytes(content)
        files.append(HostileFile(name, expected, reason))
    return files


def _cases() -> Iterator[tuple[str, bytes, Expected, str]]:
    yield from _cut_and_false()
    yield from _bombs()
    yield from _unusual()
    yield from _orientations()
    yield from _names()


def _picture(width: int = 240, height: int = 320) -> Image.Image:
    """Return a small scene whose upper left corner is red, so that a wrong turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([90 + 120 * x / width, 110 + 90 * y / height, 160 + 0 * x], axis=-1)
    rgb[: height // 4, : width // 4] = (220, 40, 40)
    rgb[(x - width / 2) ** 2 / (0.2 * width) ** 2 + (y - height / 2) ** 2 / (0.35 * height) ** 2 < 1] = (60, 80, 70)
    return Image.fromarray(rgb.astype(np.uint8))


def _encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _cut_and_false() -> Iterator[tuple[str, bytes, Expected, str]]:
    jpeg = _encode(_picture(), "JPEG", quality=88)
    png = _encode(_picture(), "PNG")
    scan = jpeg.index(b"\xff\xda")
    yield "cut_in_header.jpg", jpeg[:20], "refused", "a JPEG that ends in its header"
    yield "cut_before_scan.jpg", jpeg[: scan - 4], "refused", "a JPEG that ends before its first pixel"
    yield "cut_in_half.jpg", jpeg[: scan + (len(jpeg) - scan) // 2], "refused", "a JPEG of which half arrived"
    yield "cut_near_end.jpg", jpeg[: len(jpeg) - 200], "refused", "a JPEG without its last rows"
    yield "cut_in_half.png", png[: len(png) // 2], "refused", "a PNG of which half arrived"
    yield "zero_bytes.jpg", b"", "refused", "an empty file"
    yield "only_zeros.jpg", bytes(4096), "refused", "a file of zeros, as a full disk leaves it"
    yield (
        "error_page.jpg",
        b"<!DOCTYPE html><html><body><h1>403 Forbidden</h1></body></html>\n",
        "refused",
        "an HTML error page",
    )
    yield "text_with_nuls.jpg", b"not a picture\0\0but text\0" * 40, "refused", "text with NUL bytes"
    yield "magic_only.png", b"\x89PNG\r\n\x1a\n", "refused", "a PNG signature and nothing else"
    broken = bytearray(png)
    broken[png.index(b"IDAT") + 30] ^= 0xFF
    yield "broken_checksum.png", bytes(broken), "refused", "a PNG with a changed byte in its pixels"


def _png(width: int, height: int, rows: bytes) -> bytes:
    """Return a grey 8-bit PNG around an already compressed pixel stream."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _bombs() -> Iterator[tuple[str, bytes, Expected, str]]:
    packer = zlib.compressobj(9)
    row = bytes(BOMB_SIDE + 1)
    stream = b"".join(packer.compress(row) for _ in range(BOMB_SIDE)) + packer.flush()
    yield (
        "bomb_full.png",
        _png(BOMB_SIDE, BOMB_SIDE, stream),
        "refused",
        "400 megapixels in 400 kB: must not be decoded",
    )
    yield (
        "bomb_declared.png",
        _png(BOMB_SIDE, BOMB_SIDE, zlib.compress(bytes(100))),
        "refused",
        ("declares 20000 x 20000 and holds one row: the header must suffice to refuse it"),
    )
    yield (
        "huge_declared.png",
        _png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0")),
        "refused",
        "declares 2^31 - 1 pixels a side",
    )


def _unusual() -> Iterator[tuple[str, bytes, Expected, str]]:
    picture = _picture()
    yield "cmyk.jpg", _encode(picture.convert("CMYK"), "JPEG"), "ok", "a JPEG in print colours"
    yield "grey.jpg", _encode(picture.convert("L"), "JPEG"), "ok", "a grey JPEG"
    yield "progressive.jpg", _encode(picture, "JPEG", progressive=True), "ok", "a progressive JPEG"
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    yield "sixteen_bit.png", _encode(Image.fromarray(deep), "PNG"), "ok", "a PNG with 16 bits a pixel"
    indexed = picture.quantize(16)
    yield (
        "palette_with_alpha.png",
        _encode(indexed, "PNG", transparency=bytes([0, 128] + [255] * 14)),
        "ok",
        ("a palette PNG with transparent colours"),
    )
    clear = picture.copy()
    clear.putalpha(Image.linear_gradient("L").resize(picture.size))
    yield "half_transparent.png", _encode(clear, "PNG"), "ok", "a PNG with an alpha channel"
    yield "one_bit.png", _encode(picture.convert("1"), "PNG"), "ok", "a PNG with one bit a pixel"
    frames = [_picture().rotate(angle) for angle in (0, 20, 40)]
    yield (
        "animated.gif",
        _encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80),
        "refused",
        ("an animated GIF: nobody can say which frame counts"),
    )
    yield "one_pixel.png", _encode(Image.new("RGB", (1, 1), (9, 200, 9)), "PNG"), "ok", "one pixel"
    yield "one_wide.png", _encode(_picture(1, 4000), "PNG"), "ok", "1 x 4000 pixels"
    yield "one_high.jpg", _encode(_picture(4000, 1), "JPEG"), "ok", "4000 x 1 pixels"
    yield "png_named.jpg", _encode(picture, "PNG"), "ok", "a PNG with the ending of a JPEG"
    yield "jpeg_named.png", _encode(picture, "JPEG"), "ok", "a JPEG with the ending of a PNG"
    yield "no_ending", _encode(picture, "JPEG"), "ok", "a JPEG without an ending"
    yield "trailing_bytes.jpg", _encode(picture, "JPEG") + b"\0trailing" * 500, "ok", "a JPEG followed by other bytes"
    jpeg = _encode(picture, "JPEG")
    corrupt = b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\x01\x12\xff\xff" * 12
    segment = b"\xff\xe1" + struct.pack(">H", len(corrupt) + 2) + corrupt
    yield "corrupt_exif.jpg", jpeg[:2] + segment + jpeg[2:], "ok", "a JPEG whose EXIF block is garbage"


def _orientations() -> Iterator[tuple[str, bytes, Expected, str]]:
    """Yield one picture stored in all eight EXIF orientations: upright, each shows the same."""
    upright, turn = _picture(), Image.Transpose
    stored = {
        1: None,
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    for orientation, move in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = upright if move is None else upright.transpose(move)
        yield (
            f"exif_{orientation}.jpg",
            _encode(picture, "JPEG", quality=92, exif=exif.tobytes()),
            "ok",
            (f"EXIF orientation {orientation}"),
        )


def _names() -> Iterator[tuple[str, bytes, Expected, str]]:
    small = _encode(_picture(60, 80), "JPEG")
    for name in (
        "with space.jpg",
        "Фото №1.jpg",
        "写真.jpg",
        "quote'and\"quote.jpg",
        "$HOME;echo.jpg",
        "-dash.jpg",
        "UPPER.JPG",
        "two.dots..jpg",
        "per%20cent.jpg",
        "hash#question?.jpg",
        "new\nline.jpg",
        f"{'long' * 50}.jpg",
    ):
        yield name, small, "ok", "an odd name"


def main() -> None:
    """Write the files and list them."""
    parser = argparse.ArgumentParser(prog="python -m samples.hostile", description="Make hostile picture files.")
    parser.add_argument("--to", type=Path, required=True, help="folder to write into")
    for file in make_hostile(parser.parse_args().to):
        print(f"{file.expected:8} {file.name!r}: {file.reason}")


if __name__ == "__main__":
    main()
