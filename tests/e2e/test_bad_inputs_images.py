"""Images that are broken, odd or traps: one verdict or one failed item with the reason, and nothing changed."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from steps.library import layout
from tests.e2e.stage import ABSENT, GOOD, Stage, assert_told, command, snapshot, without_privilege

RECIPE = "validate_base_images"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int, *, rows: int = 0) -> bytes:
    """A PNG whose header promises more than it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(rows * (width * 3 + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def put(stage: Stage, data: bytes, suffix: str = "jpg") -> Path:
    """The good actor's base image replaced."""
    layout.base_image(stage.data, GOOD).unlink()
    return stage.write(f"data/actors/{GOOD}/base_image/{GOOD}_base.{suffix}", data)


# Nobody can see these: a new image is the answer, and the old one goes to the trash by a plan only.
BROKEN: list[tuple[str, Callable[[Image.Image], bytes], str]] = [
    ("empty", lambda _: b"", "is empty (0 bytes)"),
    ("cut-jpeg", lambda image: half(encoded(image, "JPEG")), "cut off or corrupt"),
    ("cut-png", lambda image: half(encoded(image, "PNG")), "cut off or corrupt"),
    ("cut-webp", lambda image: half(encoded(image, "WEBP")), "corrupt"),
    ("only-jpeg-start", lambda _: b"\xff\xd8\xff", "corrupt"),
    ("only-png-start", lambda _: b"\x89PNG\r\n\x1a\n", "corrupt"),
    ("no-rows", lambda _: png_of(200, 300), "corrupt"),
    ("zeros-in-the-middle", lambda image: (data := encoded(image, "PNG"))[:2000] + bytes(2000) + data[4000:], "corrupt"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_image_is_to_be_made_again(
    stage: Stage, portrait: Image.Image, make: Callable[[Image.Image], bytes], reason: str
) -> None:
    put(stage, make(portrait))
    before = snapshot(stage.root)
    assert_told(stage.run("run", RECIPE, "actors=[0]"), 0, ("done",))
    row = stage.verdict()
    assert row["action"] == "recreate_blurry"
    assert reason in row["reason"]
    assert f"{GOOD}_base.jpg" in row["reason"]
    assert snapshot(stage.root) == before


# These may be good images that we do not open: nothing may replace them.
UNREADABLE: list[tuple[str, Callable[[Image.Image], bytes], str]] = [
    ("text", lambda _: b"not an image at all", "not a PNG, JPEG or WebP"),
    ("html", lambda _: b"<html>404</html>", "not a PNG, JPEG or WebP"),
    ("svg", lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG, JPEG or WebP"),
    ("gif", lambda image: encoded(image, "GIF"), "not a PNG, JPEG or WebP"),
    ("bmp", lambda image: encoded(image, "BMP"), "not a PNG, JPEG or WebP"),
    ("tiff", lambda image: encoded(image, "TIFF"), "not a PNG, JPEG or WebP"),
    ("eps", lambda image: encoded(image, "EPS"), "not a PNG, JPEG or WebP"),
    ("pdf", lambda image: encoded(image, "PDF"), "not a PNG, JPEG or WebP"),
    ("psd", lambda _: b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(600), "not a PNG, JPEG or WebP"),
    ("fits", lambda _: b"SIMPLE  =                    T".ljust(2880), "not a PNG, JPEG or WebP"),
    ("pickle", lambda _: b"\x80\x04cos\nmkdir\n(Vcanary\ntR.", "not a PNG, JPEG or WebP"),
    ("bomb", lambda _: png_of(50_000, 50_000), "decompression bomb"),
    ("small-bomb", lambda _: png_of(9_000, 9_000, rows=9_000), "decompression bomb"),
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE])
def test_an_image_that_we_do_not_open_fails_its_actor_alone(
    stage: Stage, portrait: Image.Image, make: Callable[[Image.Image], bytes], reason: str, suffix: str
) -> None:
    put(stage, make(portrait), suffix)
    stage.refuses("run", RECIPE, "actors=[0,7]", code=1, naming=(f"{GOOD}_base.{suffix}", reason))
    assert stage.verdict()["action"] == "error"
    assert [action["actor_name"] for action in stage.latest(RECIPE, "plan/action_plan.json")["actions"]] == [ABSENT]


def rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def deep(image: Image.Image) -> bytes:
    grey = image.convert("L")
    return encoded(
        Image.frombytes("I;16", grey.size, b"".join(bytes((value, value)) for value in grey.tobytes())), "PNG"
    )


def transparent(image: Image.Image) -> bytes:
    palette = image.quantize(255)
    return encoded(palette, "PNG", transparency=0)


ODD: list[tuple[str, Callable[[Image.Image], bytes], str, str]] = [
    ("cmyk", lambda image: encoded(image.convert("CMYK"), "JPEG", quality=95), "jpg", "CMYK"),
    ("grey", lambda image: encoded(image.convert("L"), "PNG"), "png", "greyscale"),
    ("16-bit", deep, "png", "16-bit"),
    ("palette", lambda image: encoded(image.quantize(256), "PNG"), "png", "palette"),
    ("transparent-palette", transparent, "png", "transparent: laid on white"),
    ("transparent", lambda image: encoded(image.convert("RGBA"), "PNG"), "png", "transparent: laid on white"),
    ("rotated", rotated, "jpg", "rotated by EXIF"),
    ("jpeg-named-png", lambda image: encoded(image, "JPEG", quality=95), "png", "named .png but holds JPEG"),
    ("png-named-jpg", lambda image: encoded(image, "PNG"), "jpg", "named .jpg but holds PNG"),
    ("webp-named-jpg", lambda image: encoded(image, "WEBP", lossless=True), "jpg", "named .jpg but holds WEBP"),
    ("animated", lambda image: encoded(image, "PNG", save_all=True, append_images=[image.rotate(90)]), "png", "animated (2 frames): the first is judged"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "suffix", "note"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_an_odd_image_is_judged_and_what_is_odd_is_said(
    stage: Stage, portrait: Image.Image, make: Callable[[Image.Image], bytes], suffix: str, note: str
) -> None:
    put(stage, make(portrait), suffix)
    before = snapshot(stage.root)
    assert_told(stage.run("run", RECIPE, "actors=[0]"), 0, ("done",))
    row = stage.verdict()
    assert note in row["image_notes"]
    assert row["assessment"]["is_clear"], row["reason"]
    assert row["action"] in ("skip", "review", "recreate_mismatch"), row["reason"]
    assert snapshot(stage.root) == before


def folder(path: Path) -> None:
    path.mkdir()


def folder_with_files(path: Path) -> None:
    path.mkdir()
    (path / "x.jpg").write_bytes(b"x")


def link_out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def link_up(path: Path) -> None:
    path.symlink_to("../../../../truth.json")


NO_FILE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("folder", folder, "no plain file"),
    ("folder-with-files", folder_with_files, "no plain file"),
    ("pipe", os.mkfifo, "no plain file"),
    ("dangling-link", lambda path: path.symlink_to("nowhere.jpg"), "no plain file"),
    ("link-to-itself", lambda path: path.symlink_to(path.name), "no plain file"),
    ("link-to-device", lambda path: path.symlink_to("/dev/zero"), "symbolic link"),
    ("link-out", link_out, "symbolic link"),
    ("link-up", link_up, "symbolic link"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in NO_FILE], ids=[case[0] for case in NO_FILE])
def test_what_is_no_file_in_the_place_of_an_image_fails_its_actor_and_stays(
    stage: Stage, make: Callable[[Path], Any], reason: str
) -> None:
    path = layout.base_image(stage.data, GOOD)
    path.unlink()
    make(path)
    naming = (f"{GOOD}_base.jpg", reason)
    stage.refuses("run", "repair_base_images", "actors=[0]", "execute=true", "force=true", code=1, naming=naming)


def test_the_folder_of_an_actor_may_not_lead_out(stage: Stage) -> None:
    home = layout.actor_folder(stage.data, GOOD)
    home.rename(stage.root / "elsewhere")
    home.symlink_to("../../elsewhere")
    stage.refuses("run", RECIPE, "actors=[0]", code=1, naming=(GOOD, "symbolic link"))


def test_an_image_that_can_not_be_read_fails_its_actor_alone(stage: Stage) -> None:
    prefix = without_privilege()
    layout.base_image(stage.data, GOOD).chmod(0)
    before = snapshot(stage.root) if os.geteuid() == 0 else None
    told = command("run", RECIPE, cwd=stage.root, prefix=prefix)
    assert_told(told, 1, (f"{GOOD}_base.jpg", "Permission denied", "1 failed"))
    assert stage.verdict()["action"] == "error"
    assert before in (None, snapshot(stage.root))


def test_a_large_file_is_not_read_whole(stage: Stage) -> None:
    path = put(stage, b"\x89PNG\r\n\x1a\n")
    os.truncate(path, 300 * 1024 * 1024)
    told = stage.run("run", RECIPE, "actors=[0]")
    assert_told(told, 1, (f"{GOOD}_base.jpg", "300 MiB"))


def test_a_training_file_whose_name_is_no_utf8_fails_its_actor_alone(stage: Stage) -> None:
    """Its name could be written into no plan."""
    put(stage, b"")
    name = layout.training_folder(stage.data, GOOD) / os.fsdecode(b"\xff.jpg")
    name.write_bytes(b"x")
    stage.refuses("run", "repair_base_images", "actors=[0]", "execute=true", "force=true", code=1,
                  naming=(GOOD, "\\udcff.jpg", "UTF-8"))  # fmt: skip
