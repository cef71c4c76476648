"""A folder of images as people leave them: what is the same, what is nearly, and what only seems so."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from runner.errors import Interrupted
from steps.library import raw_images
from steps.library.raw_images import NEAR, PIXELS, RawImage, look_through, twins
from steps.studio.models import domain
from tests.library import put


def drawn(number: int) -> Image.Image:
    return domain.picture("test", number * domain.RENDERS).draw(96)


def save(path: Path, image: Image.Image, kind: str = "PNG", **how: int | bool) -> None:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    put(path, buffer.getvalue())


def looked(folder: Path) -> list[RawImage]:
    return look_through(folder).images


def told(folder: Path, near: int = 4, *settled: str, drop: bool = False) -> dict[str, tuple[str, str]]:
    found = twins(looked(folder), near, settled, drop=drop)
    return {twin.image.name: (twin.of.name, twin.kind) for twin in found}


def test_a_poorer_copy_is_near_and_the_larger_one_stands_for_it(tmp_path: Path) -> None:
    save(tmp_path / "a small.jpg", drawn(0).resize((48, 48)), "JPEG", quality=70)
    save(tmp_path / "b bright.png", ImageEnhance.Brightness(drawn(0)).enhance(1.1))
    save(tmp_path / "c.png", drawn(0).resize((192, 192)))
    save(tmp_path / "d another.png", drawn(1))
    found = told(tmp_path)
    assert {name: of for name, (of, _) in found.items()} == {"a small.jpg": "c.png", "b bright.png": "c.png"}
    assert told(tmp_path, 0) == {}


def test_the_same_pixels_in_another_file_are_found_even_where_near_ones_are_not_looked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.png", drawn(0))
    save(tmp_path / "b.webp", drawn(0), "WEBP", lossless=True)
    save(tmp_path / "c.png", drawn(0), compress_level=0)
    assert told(tmp_path, 0) == {"b.webp": ("a.png", PIXELS), "c.png": ("a.png", PIXELS)}
    by_id = {image.name: image.id for image in looked(tmp_path)}
    assert told(tmp_path, 0, by_id["c.png"]) == {"a.png": ("c.png", PIXELS), "b.webp": ("c.png", PIXELS)}


def test_what_a_hash_without_colours_takes_for_alike_is_told_apart(tmp_path: Path) -> None:
    for colour in ("red", "blue", "white", "black"):
        save(tmp_path / f"{colour}.png", Image.new("RGB", (64, 64), colour))
    assert told(tmp_path, 32) == {}


def test_people_in_the_same_pose_are_no_duplicates(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / f"{number:02d}.png", drawn(number))
    assert told(tmp_path) == {}


def test_what_is_dropped_stands_for_nothing() -> None:
    images = hashed(0, 0b1111, 0b1111_1111)
    near = {twin.image.name: twin.of.name for twin in twins(images, 4)}
    dropped = {twin.image.name: twin.of.name for twin in twins(images, 4, drop=True)}
    assert near == {"b": "a", "c": "b"}
    # c is near to b alone, which is gone.
    assert dropped == {"b": "a"}


def hashed(*looks: int) -> list[RawImage]:
    """Images a, b, c ... of these hashes, each smaller than the one before, so that no pixels are compared."""
    sizes = range(20, 0, -1)
    return [
        RawImage(name, Path(name), name, "x", (8, size), look, bytes(192))
        for name, size, look in zip("abcdef", sizes, looks, strict=False)
    ]


def test_bits_of_a_hash_count_each() -> None:
    (twin,) = twins(hashed(0, 1 << 63), 1)
    assert (twin.kind, twin.distance) == (NEAR, 1)


def test_the_folder_s_own_images_come_before_those_below(tmp_path: Path) -> None:
    save(tmp_path / "copies" / "a.png", drawn(0))
    save(tmp_path / "z.png", drawn(0))
    (image,) = looked(tmp_path)
    assert (image.name, image.copies) == ("z.png", ("copies/a.png",))


def test_looking_stops_when_the_run_does(tmp_path: Path) -> None:
    save(tmp_path / "a.png", drawn(0))

    def stop() -> None:
        raise Interrupted("Ctrl+C")

    with pytest.raises(Interrupted):
        look_through(tmp_path, stop)


def test_a_shown_name_is_one_line_of_text() -> None:
    assert raw_images.shown("a\nb\udce9\x1b[0m Ә.png") == "a\\nb\\udce9\\x1b[0m Ә.png"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("plain.png", "plain.png"),
        ("it's $HOME.png", """'it'"'"'s $HOME.png'"""),
        ("back\\slash\n'.png", "$'back\\134slash\\012\\047.png'"),
        (os.fsdecode(b"latin-\xe9"), "$'latin-\\351'"),
        ("Көсе.png", "Көсе.png"),
        ("К\t", "$'\\320\\232\\011'"),
    ],
)
def test_a_path_is_one_word_on_one_line(name: str, word: str) -> None:
    found = raw_images.quoted(Path(name))
    assert found in (word, f"'{word}'")
    assert found.isprintable()
    if (bash := shutil.which("bash")) is not None:
        said = subprocess.run([bash, "-c", f"printf %s {found}"], capture_output=True, check=True).stdout
        assert said == os.fsencode(name)
