"""Faces aligned without what insightface calls that is deprecated: the same to the bit, and nothing is warned of."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.ledger import Ledger
from steps.backends.aligned_faces import faces_in
from steps.backends.embedded_models import EmbeddedFaces, EmbeddedFacesSettings
from steps.backends.protocols import Face
from steps.studio.models import domain, layout
from steps.studio.models.weights import load_faces
from tests.frames import shipped_weights
from tests.support import calls

IMAGES = 6


@pytest.fixture(scope="module")
def app() -> Any:
    return load_faces(shipped_weights())


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [domain.picture("test", number).draw() for number in range(IMAGES)]


@pytest.mark.filterwarnings("error")
def test_faces_are_those_of_insightface_to_the_bit(app: Any, images: list[Image.Image]) -> None:
    number = 0
    for image in images:
        found = faces_in(app, image)
        with pytest.warns(FutureWarning) if found else warnings.catch_warnings():
            theirs = app.get(np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1]))
        ours: dict[tuple[float, ...], Face] = {face.box: face for face in found}
        assert len(theirs) == len(ours)
        for face in theirs:
            same = ours[tuple(float(end) for end in face.bbox)]
            assert same.score == float(face.det_score)
            assert same.embedding.dtype == face.normed_embedding.dtype
            assert same.embedding.tobytes() == face.normed_embedding.tobytes()
            number += 1
    assert number >= IMAGES / 2


class Nowhere:
    """A detector whose points lie in one place, and an embedder that must not be asked."""

    input_size = (112, 112)

    def detect(self, pixels: Any, **_: Any) -> tuple[Any, Any]:
        return np.array([[1.0, 1.0, 5.0, 5.0, 0.9]], np.float32), np.ones((1, 5, 2), np.float32)

    def get_feat(self, crop: Any) -> Any:
        raise AssertionError("there is nothing to embed")


@pytest.mark.filterwarnings("error")
def test_points_in_one_place_are_no_face(app: Any) -> None:
    nowhere = SimpleNamespace(det_model=Nowhere(), models={"recognition": Nowhere()})
    assert faces_in(nowhere, Image.new("RGB", (64, 64))) == []
    assert faces_in(app, Image.new("RGB", (64, 64))) == []


@pytest.mark.filterwarnings("error")
def test_threads_that_set_warnings_aside_bring_none_of_faces(ledger: Ledger, images: list[Image.Image]) -> None:
    faces = EmbeddedFaces(EmbeddedFacesSettings(pack=layout.FACE_PACKS[0]), calls(ledger))

    def find(image: Image.Image) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return len(faces.find(image))

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(find, images * 4))
    assert together == [find(image) for image in images] * 4
