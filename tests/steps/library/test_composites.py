"""Composites: numbered thumbnails on sheets, and back; decoded small and checked in one go."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageStat

from steps.library import pictures
from steps.library.composites import COLUMNS, PER_SHEET, THUMBNAIL, Cell, cells, places, sheets
from steps.library.pictures import BrokenPicture, UnreadablePicture, encode_jpeg, shrink

RED, GREEN, BLUE = (220, 30, 30), (30, 180, 60), (40, 60, 220)


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image.convert("RGB")


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def laid(*images: Image.Image | None) -> list[Image.Image]:
    return [opened(jpeg) for jpeg in sheets(Cell(str(number), image) for number, image in enumerate(images, 1))]


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (5, 1), (6, 2), (20, 4), (50, 10)])
def test_a_sheet_has_five_columns_and_as_many_rows_as_it_needs(count: int, rows: int) -> None:
    (sheet,) = laid(*[Image.new("RGB", (200, 113), RED)] * count)
    assert sheet.size == (1016, rows * 232)
    assert places(sheet) == rows * COLUMNS
    assert [cell.size for cell in cells(sheet, count)] == [(200, 113)] * count


def test_more_than_fifty_go_on_further_sheets() -> None:
    colours = [(5 * number % 256, 90, 200) for number in range(PER_SHEET * 2 + 3)]
    found = laid(*(Image.new("RGB", (200, 120), colour) for colour in colours))
    assert len(found) == 3
    back = [cell for sheet, count in zip(found, (50, 50, 3), strict=True) for cell in cells(sheet, count)]
    for cell, colour in zip(back, colours, strict=True):
        assert ImageStat.Stat(cell).mean == pytest.approx(colour, abs=3)


def test_no_images_make_no_sheet() -> None:
    assert laid() == []


@pytest.mark.parametrize("size", [(200, 113), (113, 200), (200, 200), (64, 61), (200, 7), (30, 199), (8, 8)])
def test_cells_come_back_as_large_as_they_went_in(size: tuple[int, int]) -> None:
    dark = Image.new("RGB", size, (38, 52, 60))
    dark.paste(noise((size[0] // 2 + 1, size[1])), (0, 0))
    (sheet,) = laid(noise(size), Image.new("RGB", size, "white"), dark)
    first, second, third = cells(sheet, 3)
    assert first.size == second.size == size
    # Half of it is as dark as the ground, on one side: thumbnails are centred, so it is not taken for ground, but for a line.
    assert size[0] - 1 <= third.width <= size[0]
    assert third.height == size[1]


def test_cells_are_found_on_a_sheet_that_was_made_smaller() -> None:
    (sheet,) = laid(*(Image.new("RGB", (200, 150), colour) for colour in (RED, GREEN, BLUE) * 3))
    small = sheet.resize((508, round(sheet.height / 2)), Image.Resampling.LANCZOS)
    for cell, colour in zip(cells(small, 9), (RED, GREEN, BLUE) * 3, strict=True):
        assert np.abs(np.array(cell.size) - (100, 75)).max() <= 2
        assert ImageStat.Stat(cell).mean == pytest.approx(colour, abs=8)


def test_labels_stand_above_their_pictures_and_can_be_read() -> None:
    (sheet,) = laid(*[Image.new("RGB", (200, 200), "grey")] * 7)
    for index in range(10):
        left, top = index % 5 * 204, index // 5 * 232
        strip = np.asarray(sheet.crop((left, top, left + 200, top + 32)).convert("L"), dtype=int)
        written = np.ptp(strip)
        assert (written > 120) == (index < 7), "a light number on dark ground, or nothing"
        if index < 7:
            rows = np.flatnonzero((strip > 150).any(axis=1))
            assert rows[-1] - rows[0] >= 14, "figures of fifteen pixels and more"
            assert 85 <= np.mean(np.nonzero(strip > 150)[1]) <= 115, "in the middle"


def test_different_numbers_look_different() -> None:
    (sheet,) = laid(*[Image.new("RGB", (200, 200), "grey")] * 50)
    strips = {
        sheet.crop((n % 5 * 204, n // 5 * 232, n % 5 * 204 + 200, n // 5 * 232 + 32)).tobytes() for n in range(50)
    }
    assert len(strips) == 50


def test_what_nobody_can_see_is_crossed_out() -> None:
    (sheet,) = laid(None, noise((200, 200)))
    cell = np.asarray(sheet.crop((0, 32, 200, 232)), dtype=int)
    assert np.abs(cell[100, 100] - (150, 60, 60)).max() < 30
    assert np.abs(cell[100, 30] - (38, 52, 60)).max() < 10


def test_one_picture_is_held_at_a_time() -> None:
    asked: list[int] = []

    def taken() -> Iterator[Cell]:
        for number in range(1, 121):
            asked.append(number)
            yield Cell(str(number), Image.new("RGB", (20, 20)))

    found = sheets(taken())
    next(found)
    assert asked == list(range(1, 51))


def test_the_same_pictures_make_the_same_bytes() -> None:
    assert [*sheets([Cell("1", noise((90, 90)))])] == [*sheets([Cell("1", noise((90, 90)))])]


def test_a_jpeg_is_decoded_once_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def noting(image: ImageFile.ImageFile) -> object:
        # What is left to decode stands in `tile` until it is done.
        if image.tile:
            decoded.append(image.size)
        return load(image)

    data = encode_jpeg(noise((2048, 1536)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", noting)
    small = shrink(data, "x.jpg", THUMBNAIL)
    assert decoded == [(256, 192)]
    assert small.image.size == (200, 150)
    assert small.size == (2048, 1536)


def test_a_reduced_thumbnail_looks_like_one_from_full_size() -> None:
    shown = Image.radial_gradient("L").resize((2048, 1152)).convert("RGB")
    fast = np.asarray(shrink(encode_jpeg(shown), "x.jpg", THUMBNAIL).image, dtype=int)
    slow = shown.resize((200, 113), Image.Resampling.LANCZOS)
    assert fast.shape == (113, 200, 3)
    assert np.abs(fast - np.asarray(slow, dtype=int)).mean() < 1.5


def test_a_small_image_keeps_its_size() -> None:
    assert shrink(encode_jpeg(Image.new("RGB", (40, 30))), "x.jpg", THUMBNAIL).image.size == (40, 30)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_rotation_is_applied(orientation: int, kind: str) -> None:
    image = Image.new("RGB", (1200, 800), BLUE)
    image.paste(RED, (0, 0, 600, 400))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    small = shrink(buffer.getvalue(), f"x.{kind.lower()}", THUMBNAIL)
    whole = pictures.decode(buffer.getvalue(), "x").image
    assert small.size == whole.size == ((800, 1200) if orientation > 4 else (1200, 800))
    for x, y in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        spot = small.image.getpixel((int(x * small.image.width), int(y * small.image.height)))
        assert spot == pytest.approx(whole.getpixel((int(x * whole.width), int(y * whole.height))), abs=6)
    assert "rotated by EXIF" in small.notes


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    image = Image.linear_gradient("L").resize((600, 400))
    if mode == "I;16":
        Image.fromarray(np.asarray(image).astype(np.uint16) * 257).save(buffer, "PNG")
    else:
        image.convert(mode).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    small = shrink(buffer.getvalue(), "x", THUMBNAIL)
    assert small.image.mode == "RGB"
    assert small.image.size == (200, 133)
    assert ImageStat.Stat(small.image).mean[0] == pytest.approx(128, abs=12)


def saved(kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    noise((640, 480)).save(buffer, kind, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data", [saved("JPEG"), saved("JPEG", progressive=True), saved("PNG"), saved("WEBP")], ids="jpwx"
)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_cut_off_file_is_broken(data: bytes, share: float) -> None:
    with pytest.raises(BrokenPicture):
        shrink(data[: int(len(data) * share)], "x.jpg", THUMBNAIL)


def test_a_corrupt_png_is_broken() -> None:
    data = bytearray(saved("PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BrokenPicture):
        shrink(bytes(data), "x.png", THUMBNAIL)


def test_other_formats_and_bombs_are_left_alone(tmp_path: Path) -> None:
    for data in (b"8BPS\0\1" + bytes(200), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"hello"):
        with pytest.raises(UnreadablePicture, match="not a PNG, JPEG or WebP"):
            shrink(data, "x.png", THUMBNAIL)
    with pytest.raises(UnreadablePicture, match="decompression bomb"):
        shrink(bomb(40_000, 30_000), "x.png", THUMBNAIL)
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(pictures.MAX_BYTES + 1)
    with pytest.raises(UnreadablePicture, match="at most 256 are opened"):
        pictures.read(huge)


def bomb(width: int, height: int) -> bytes:
    """A PNG of some kilobytes that says it is a gigapixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    rows = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
