"""insightface's packs: found and used, or told with their command and licence, and never downloaded unasked."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.errors import UserError
from runner.ledger import Ledger
from steps.backends.insightface import InsightFaces, InsightFaceSettings
from steps.backends.protocols import Face
from steps.studio.models import domain, layout
from tests.frames import shipped_weights
from tests.support import calls

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_a_missing_pack_is_told_and_nothing_is_fetched(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    faces = InsightFaces(InsightFaceSettings(root=str(tmp_path)), calls(ledger))
    for ask in (faces.prepare, lambda: faces.identity, lambda: faces.find(Image.new("RGB", (64, 64)))):
        with pytest.raises(UserError) as caught:
            ask()
        assert "non-commercial research only" in str(caught.value)
        assert f"insightface-cli model.download buffalo_l --root {tmp_path}" in str(caught.value)
    (need,) = InsightFaces.needs(InsightFaceSettings(root=str(tmp_path)))
    assert not need.met


def test_the_usual_place_needs_no_root(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"fetch them with: insightface-cli model.download buffalo_l$"):
        InsightFaces(InsightFaceSettings(), calls(ledger)).prepare()


def test_a_pack_that_was_unpacked_too_deep_is_told(ledger: Ledger, tmp_path: Path) -> None:
    # As insightface's own download leaves antelopev2, and would not fetch it again.
    deep = tmp_path / "models/antelopev2/antelopev2"
    deep.mkdir(parents=True)
    for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
        (deep / name).touch()
    faces = InsightFaces(InsightFaceSettings(pack="antelopev2", root=str(tmp_path)), calls(ledger))
    with pytest.raises(UserError, match="one folder too deep") as caught:
        faces.prepare()
    command = str(caught.value).partition("Put them in place with: ")[2]
    subprocess.run(command, shell=True, check=True)
    faces.prepare()


def test_a_pack_is_a_plain_name(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^pack\b"):
        InsightFaces(InsightFaceSettings(pack="../../etc", root=str(tmp_path)), calls(ledger)).prepare()


def test_a_pack_finds_faces_and_embeds_them(ledger: Ledger) -> None:
    root = shipped_weights() / layout.FACES
    settings = InsightFaceSettings(pack=layout.FACE_PACKS[0], root=str(root), det_size=128, min_score=0.0)
    faces = InsightFaces(settings, calls(ledger))
    faces.prepare()
    assert "insightface choose" in faces.identity
    images = [domain.picture("test", number).draw() for number in range(6)]
    found = [faces.find(image) for image in images]
    for several in found:
        areas = [(face.box[2] - face.box[0]) * (face.box[3] - face.box[1]) for face in several]
        assert areas == sorted(areas, reverse=True)
        assert all(abs(np.linalg.norm(face.embedding) - 1) < 1e-4 for face in several)
    sure = InsightFaces(InsightFaceSettings(layout.FACE_PACKS[0], str(root), 128, 1.0), calls(ledger))
    assert [sure.find(image) for image in images] == [[]] * 6


def test_the_reference_is_a_square_with_hair_and_hat_whose_border_is_repeated(ledger: Ledger, tmp_path: Path) -> None:
    faces = InsightFaces(InsightFaceSettings(root=str(tmp_path), margin=2.0), calls(ledger))
    image = Image.new("RGB", (100, 80), "blue")
    image.paste("red", (0, 0, 100, 1))
    cut = faces.reference(image, Face((40, 0, 60, 20), 0.9, np.zeros(4, np.float32)))
    assert cut.size == (224, 224)
    # The square reaches ten pixels above the image, where its red border goes on.
    assert cut.getpixel((112, 20)) == (255, 0, 0)
    assert cut.getpixel((112, 200)) == (0, 0, 255)
