"""The one decoder: what opens, how it looks, and what is refused with which reason."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from samples.hostile import make_hostile
from silhouette.errors import InputError, PictureError
from silhouette.imaging import (
    EXTENSIONS,
    OUTSIDE_GREY,
    Picture,
    crop_square,
    crop_square_mask,
    open_picture,
    square_of,
)

Pixels = npt.NDArray[np.uint8]


def corners(width: int = 48, height: int = 32) -> Pixels:
    """A picture whose four quarters tell its orientation: red, green / blue, white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (255, 0, 0)
    pixels[: height // 2, width // 2 :] = (0, 255, 0)
    pixels[height // 2 :, : width // 2] = (0, 0, 255)
    pixels[height // 2 :, width // 2 :] = (255, 255, 255)
    return pixels


def saved(picture: Image.Image, format_: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if format_ == "HEIF":
        pillow_heif.from_pillow(picture).save(stream, **options)
    else:
        picture.save(stream, format_, **options)
    return stream.getvalue()


def reason_of(data: bytes, **options: float) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(data, **options)  # type: ignore[arg-type]
    return caught.value.reason


def close(one: Pixels, other: Pixels, *, within: float) -> bool:
    return float(np.abs(one.astype(np.int16) - other).mean()) <= within


@pytest.mark.parametrize("format_", sorted(EXTENSIONS))
def test_every_format_opens_by_its_content(format_: str) -> None:
    picture = open_picture(saved(Image.fromarray(corners()), format_))
    assert (picture.format, picture.extension) == (format_, EXTENSIONS[format_])
    assert (picture.width, picture.height, picture.pixels.shape) == (48, 32, (32, 48, 3))
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.writeable
    assert close(picture.pixels, corners(), within=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_pictures_come_out_upright(format_: str, orientation: int) -> None:
    # what the camera stored so that, turned as `orientation` says, the four quarters are in order
    stored = corners()
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1] if orientation in (2, 3) else stored
    if orientation == 3:
        stored = stored[::-1]
    if orientation == 4:
        stored = stored[::-1]
    if orientation == 5:
        stored = stored.swapaxes(0, 1)
    if orientation == 6:
        stored = np.rot90(stored, 1)  # the way out is a quarter turn clockwise
    if orientation == 7:
        stored = stored[::-1, ::-1].swapaxes(0, 1)
    if orientation == 8:
        stored = np.rot90(stored, -1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), format_, exif=exif.tobytes())
    picture = open_picture(data)
    assert (picture.width, picture.height) == (48, 32)
    assert close(picture.pixels, corners(), within=8)


def test_a_greyscale_jpeg_and_a_palette_become_rgb() -> None:
    grey = np.full((8, 8), 90, np.uint8)
    assert open_picture(saved(Image.fromarray(grey), "JPEG")).pixels.tolist() == [[[90] * 3] * 8] * 8
    palette = Image.fromarray(corners()).quantize(8)
    assert close(open_picture(saved(palette, "PNG")).pixels, corners(), within=1)


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert open_picture(saved(clear, "PNG")).pixels.min() == 255
    assert open_picture(saved(half, "PNG")).pixels[0, 0].tolist() == [127, 127, 127]
    keyed = Image.new("RGB", (4, 4), (10, 20, 30))
    assert open_picture(saved(keyed, "PNG", transparency=(10, 20, 30))).pixels.min() == 255
    masked = Image.new("LA", (4, 4), (0, 0))
    assert open_picture(saved(masked, "PNG")).pixels.min() == 255


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    for format_ in ("PNG", "TIFF"):
        pixels = open_picture(saved(Image.fromarray(ramp), format_)).pixels
        assert np.abs(pixels[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_float_and_32_bit_pictures_are_scaled() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    assert open_picture(saved(Image.fromarray(ramp), "TIFF")).pixels[0, [0, 128, 255], 0].tolist() == [0, 128, 255]
    hole = np.array([[np.nan, 0.5, np.inf]], np.float32)
    assert open_picture(saved(Image.fromarray(hole), "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 0]
    deep = np.array([[0, 1 << 29, 1 << 30]], np.int32)
    assert open_picture(saved(Image.fromarray(deep), "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_cmyk_is_converted() -> None:
    red = open_picture(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")).pixels
    assert red[8, 8, 0] > 240
    assert red[8, 8, 1:].max() < 15


def test_lab_is_converted() -> None:
    lab = ImageCms.applyTransform(
        Image.new("RGB", (4, 4), (200, 10, 10)),
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
    )
    assert lab is not None
    assert np.abs(open_picture(saved(lab, "TIFF")).pixels[0, 0].astype(int) - (200, 10, 10)).max() <= 6


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF"])
def test_moving_pictures_are_refused(format_: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    assert reason_of(saved(frames[0], format_, save_all=True, append_images=frames[1:])) == "animated"


def test_of_a_tiff_with_pages_the_first_is_taken() -> None:
    pages = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    picture = open_picture(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]


def test_no_bytes_are_refused_as_empty() -> None:
    assert reason_of(b"") == "empty"


@pytest.mark.parametrize(
    "data", [b"x", b"<!DOCTYPE html>", b"%PDF-1.7", b"RIFF", b"\0\0\0\x18ftypmp42\0\0\0\0", b"PK\3\4"]
)
def test_what_is_no_picture_is_refused_as_unsupported(data: bytes) -> None:
    assert reason_of(data) == "unsupported"


@pytest.mark.parametrize("format_", sorted(set(EXTENSIONS) - {"TIFF", "AVIF", "HEIF"}))
@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_half_a_picture_is_refused(format_: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    data = saved(Image.fromarray(noise), format_)
    assert reason_of(data[: int(len(data) * kept)]) in ("truncated", "corrupt")


@given(st.sampled_from(sorted(EXTENSIONS)), st.integers(1, 40), st.integers(0, 255), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_a_damaged_picture_opens_or_is_refused_but_never_escapes(kind: str, at: int, value: int, kept: float) -> None:
    data = bytearray(saved(Image.fromarray(corners()), kind))
    data[at] = value
    try:
        answer = str(open_picture(bytes(data[: max(1, int(len(data) * kept))])).pixels.ndim)
    except PictureError as refusal:
        answer = refusal.reason
    assert answer in ("3", "unsupported", "animated", "too_large", "truncated", "corrupt")


def test_the_pixel_cap_holds_before_decoding() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    head = (60000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    assert reason_of(bomb) == "too_large"
    small = saved(Image.new("RGB", (200, 200)), "JPEG")
    assert open_picture(small, max_megapixels=0.04).width == 200
    assert reason_of(small, max_megapixels=0.039) == "too_large"


@pytest.mark.parametrize(
    ("format_", "side"), [("JPEG", 1000), ("JPEG", 500), ("JPEG", 100), ("PNG", 100), ("JPEG", 9000)]
)
def test_pictures_are_shrunk_on_demand_but_tell_their_real_size(format_: str, side: int) -> None:
    data = saved(Image.fromarray(corners(1200, 800)), format_)
    picture = open_picture(data, longest_side=side)
    assert (picture.width, picture.height) == (1200, 800)
    longest = min(side, 1200)
    assert picture.pixels.shape == (round(longest / 1.5), longest, 3)
    full = cv2.resize(corners(1200, 800), picture.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert close(picture.pixels, full, within=3)


def test_a_very_thin_picture_keeps_a_pixel() -> None:
    assert open_picture(saved(Image.new("RGB", (4000, 2)), "PNG"), longest_side=100).pixels.shape == (1, 100, 3)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = saved(Image.fromarray(corners()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_picture(data).width == 48


_CHILD = """
import json, pathlib, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from silhouette.errors import PictureError
from silhouette.imaging import open_picture
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        picture = open_picture(path.read_bytes())
        found[path.name] = ["ok", picture.width, picture.height]
    except PictureError as refusal:
        found[path.name] = [refusal.reason]
# not ru_maxrss: that starts with what the parent held when it forked
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"found": found, "peak_mb": peak_kb // 1024}))
"""


def open_all(folder: Path) -> dict[str, list[object]]:
    """Open every file of a folder in a child process that may use 3 GiB of addresses."""
    done = subprocess.run([sys.executable, "-c", _CHILD, str(folder)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["peak_mb"] < 1000
    found: dict[str, list[object]] = report["found"]
    return found


def test_hostile_files_from_the_wild_open_or_are_refused_with_a_reason(shared_data: Callable[[str], Path]) -> None:
    expected = {
        "empty": {"zero_byte"},
        "animated": {"animated", "depth16", "truncated", "bomb"},
        "too_large": {"bomb", "corrupt"},
        "truncated": {"truncated", "corrupt"},
        "unsupported": {"other_format", "wrong_name", "corrupt", "bomb"},
        "corrupt": {"corrupt", "truncated", "bomb"},
    }
    answers = open_all(shared_data("hostile"))
    assert len(answers) > 80
    for name, (answer, *size) in answers.items():
        category = name.partition("__")[0]
        if answer == "ok":
            assert category != "bomb", name
        elif "__" in name:
            assert category in expected[str(answer)], (name, answer)
        if "Portrait_" in name:
            assert (answer, *size) == ("ok", 1200, 1800)


def test_the_projects_own_hostile_files_open_or_are_refused_with_a_reason(tmp_path: Path) -> None:
    expected = {file.name: file.expected for file in make_hostile(tmp_path)}
    answers = {name: str(answer[0]) for name, answer in open_all(tmp_path).items()}
    assert {name: "ok" if answer == "ok" else "refused" for name, answer in answers.items()} == expected
    assert set(answers.values()) >= {"ok", "empty", "truncated", "unsupported", "too_large"}


# ---- crops

boxes = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(1, 60), st.integers(1, 40)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)


@given(boxes, st.sampled_from([0.0, 0.1, 0.5]))
def test_the_square_holds_the_box_and_shares_its_centre(box: tuple[float, float, float, float], margin: float) -> None:
    x0, y0, side = square_of(box, margin)
    assert side == max(1, round(max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin)))
    assert abs(x0 + side / 2 - (box[0] + box[2]) / 2) <= 0.5
    assert abs(y0 + side / 2 - (box[1] + box[3]) / 2) <= 0.5


@given(boxes, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([16, 33, 64, 200]), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_mask_and_pixels_agree(box: tuple[float, float, float, float], margin: float, size: int, seed: int) -> None:
    mask = np.zeros((80, 120), np.uint8)
    centre = np.random.default_rng(seed).integers(10, 70, 2)
    cv2.circle(mask, (int(centre[0]), int(centre[1])), 15, 255, -1)
    cut = crop_square_mask(mask, box, size=size, margin=margin)
    # the same picture in which the world beyond the border is drawn black, as it is in a mask
    world = cv2.copyMakeBorder(mask, 200, 200, 200, 200, cv2.BORDER_CONSTANT, value=0)
    pixels = np.repeat(world[:, :, None], 3, axis=2)
    moved = (box[0] + 200, box[1] + 200, box[2] + 200, box[3] + 200)
    drawn = crop_square(pixels, moved, size=size, margin=margin)
    assert cut.shape == (size, size)
    assert set(np.unique(cut)) <= {0, 255}
    assert np.array_equal(cut == 255, drawn[:, :, 0] >= 128)


def test_outside_the_picture_is_grey_and_not_person() -> None:
    pixels, mask = np.full((10, 10, 3), 200, np.uint8), np.ones((10, 10), np.bool_)
    crop = crop_square(pixels, (0, 0, 10, 10), size=20, margin=0.5)
    assert crop[0, 0].tolist() == [OUTSIDE_GREY] * 3
    assert crop[10, 10].tolist() == [200] * 3
    cut = crop_square_mask(mask, (0, 0, 10, 10), size=20, margin=0.5)
    assert (cut[0, 0], cut[10, 10], int((cut == 255).sum())) == (0, 255, 100)
    assert np.unique(crop_square(pixels, (50, 50, 60, 60), size=8, margin=0.0)).tolist() == [OUTSIDE_GREY]


def test_a_square_box_at_its_own_size_is_the_pixels_themselves() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert np.array_equal(crop_square(pixels, (4, 6, 20, 22), size=16, margin=0.0), pixels[6:22, 4:20])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (0, 0, float("nan"), 4), (0, 0, float("inf"), 4)])
def test_a_box_without_area_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="x0 < x1"):
        square_of(box, 0.1)


def test_a_picture_is_a_plain_record() -> None:
    picture = open_picture(saved(Image.fromarray(corners()), "PNG"))
    assert isinstance(picture, Picture)
    with pytest.raises(AttributeError):
        picture.width = 1  # type: ignore[misc]
