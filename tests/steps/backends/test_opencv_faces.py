"""YuNet and SFace through OpenCV's own classes on stand-in files; what is missing or wrong is told with the command that fetches it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.cli import main
from runner.errors import MisconfiguredRun, UserError
from runner.ledger import Ledger
from runner.params import faults
from steps.backends.opencv_faces import SFACE, YUNET, OpenCVFaces, OpenCVFacesSettings
from steps.backends.protocols import Face
from tests.opencv_models import FACE_CELLS, write_sface, write_yunet
from tests.support import calls

pytest.importorskip("cv2", reason="the models' packages are not installed")
pytest.importorskip("onnx", reason="the stand-ins are made with it")
SIDE = 320
CELL = 32
FACE_PIXELS = FACE_CELLS * CELL


@pytest.fixture
def settings(tmp_path: Path) -> OpenCVFacesSettings:
    detector, embedder = write_yunet(tmp_path / "yunet.onnx", side=SIDE), write_sface(tmp_path / "sface.onnx")
    return OpenCVFacesSettings(detector=str(detector), embedder=str(embedder), det_size=SIDE)


@pytest.fixture
def faces(settings: OpenCVFacesSettings, ledger: Ledger) -> OpenCVFaces:
    return OpenCVFaces(settings, calls(ledger))


def scene(
    *spots: tuple[int, int], size: tuple[int, int] = (SIDE, SIDE), red: int = 255, scale: float = 1.0
) -> Image.Image:
    """Red spots of a cell on blue: where (column, row) of the stand-in's cells are."""
    image = Image.new("RGB", size, (10, 10, 200))
    for column, row in spots:
        left, top = round(column * CELL * scale), round(row * CELL * scale)
        image.paste((red, 0, 0), (left, top, left + round(CELL * scale), top + round(CELL * scale)))
    return image


def test_a_face_is_found_where_it_is_and_embedded_as_a_unit_vector(faces: OpenCVFaces) -> None:
    (face,) = faces.find(scene((4, 5)))
    middle = (4.5 * CELL, 5.5 * CELL)
    half = FACE_PIXELS / 2
    wanted = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    assert face.box == pytest.approx(wanted, abs=1.5)
    assert 0.9 < face.score <= 1
    assert face.embedding.shape == (128,)
    assert face.embedding.dtype == np.float32
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    assert faces.find(scene()) == []


def test_boxes_are_those_of_the_image_as_it_came_whatever_its_shape(faces: OpenCVFaces) -> None:
    # Twice as large and half as high: fitted, the spot is a cell of the detector's again.
    (face,) = faces.find(scene((6, 2), size=(2 * SIDE, SIDE), scale=2.0))
    assert face.box == pytest.approx((13 * CELL - 96, 5 * CELL - 96, 13 * CELL + 96, 5 * CELL + 96), abs=3)


def test_the_same_face_is_like_itself_wherever_it_stands_and_unlike_another(faces: OpenCVFaces) -> None:
    (one,), (moved,) = faces.find(scene((4, 5))), faces.find(scene((6, 4)))
    odd = scene((4, 5))
    odd.paste((0, 250, 0), (4 * CELL - 20, 5 * CELL - 20, 4 * CELL - 4, 6 * CELL + 20))
    (other,) = faces.find(odd)
    assert float(one.embedding @ moved.embedding) > 0.99
    assert float(one.embedding @ other.embedding) < 0.95


def test_faces_come_largest_first_by_what_is_seen_of_them(faces: OpenCVFaces) -> None:
    whole, leaving = (7.5 * CELL, 5.5 * CELL), (0.5 * CELL, 1.5 * CELL)
    found = faces.find(scene((0, 1), (7, 5)))
    middles = [((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2) for face in found]
    assert middles == [pytest.approx(whole, abs=1.5), pytest.approx(leaving, abs=1.5)]
    # The box says that it leaves the image.
    assert found[1].box[0] < 0


def test_how_sure_a_face_must_be_is_a_setting(settings: OpenCVFacesSettings, ledger: Ledger) -> None:
    strict = OpenCVFacesSettings(detector=settings.detector, embedder=settings.embedder, det_size=SIDE, min_score=0.99)
    faint = scene((4, 5), red=115)
    assert len(OpenCVFaces(settings, calls(ledger)).find(faint)) == 1
    assert OpenCVFaces(strict, calls(ledger)).find(faint) == []


def test_threads_share_one_detector(faces: OpenCVFaces) -> None:
    found: dict[int, list[Face]] = {}

    def look(number: int) -> None:
        found[number] = faces.find(scene((number, 5)))

    threads = [threading.Thread(target=look, args=(number,)) for number in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2, 8):
        (face,) = found[number]
        assert (face.box[0] + face.box[2]) / 2 == pytest.approx((number + 0.5) * CELL, abs=1.5)


def test_the_identity_names_files_and_settings(settings: OpenCVFacesSettings, ledger: Ledger, tmp_path: Path) -> None:
    before = OpenCVFaces(settings, calls(ledger)).identity
    assert before.startswith("opencv yunet sface ")
    assert f"det_size={SIDE}" in before
    write_sface(tmp_path / "sface.onnx", seed=1)
    assert OpenCVFaces(settings, calls(ledger)).identity != before


def test_missing_files_are_told_with_licence_and_command(tmp_path: Path, ledger: Ledger) -> None:
    settings = OpenCVFacesSettings(folder=str(tmp_path / "zoo"))
    with pytest.raises(UserError) as caught:
        OpenCVFaces(settings, calls(ledger)).prepare()
    first, second = str(caught.value).splitlines()
    assert f"{YUNET.name}: no such file (MIT). Fetch it with: hf download opencv/face_detection_yunet" in first
    assert second.endswith(
        f"(Apache-2.0). Fetch it with: hf download opencv/face_recognition_sface {SFACE.name} --local-dir {tmp_path / 'zoo'}"
    )
    assert [need.met for need in OpenCVFaces.needs(settings)] == [True, False, False]


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{YUNET.sha256}\nsize 232589\n".encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (POINTER, "is a git-lfs pointer of 131 bytes, not the weights"),
        (b"<html>not found</html>", "has 22 bytes, which are no weights"),
        (b"\0" * 20_000, "is not opencv_zoo's: its SHA-256 begins with "),
    ],
)
def test_what_is_not_the_weights_is_told(tmp_path: Path, ledger: Ledger, data: bytes, said: str) -> None:
    (tmp_path / YUNET.name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        OpenCVFaces(OpenCVFacesSettings(folder=str(tmp_path)), calls(ledger)).prepare()
    assert said in str(caught.value)
    assert "Fetch it with: hf download" in str(caught.value)


def test_a_file_of_ones_own_that_is_none_stops_the_run(
    settings: OpenCVFacesSettings, tmp_path: Path, ledger: Ledger
) -> None:
    (tmp_path / "own.onnx").write_bytes(b"\0" * 20_000)
    broken = OpenCVFacesSettings(detector=str(tmp_path / "own.onnx"), embedder=settings.embedder, det_size=SIDE)
    with pytest.raises(MisconfiguredRun, match=r"own\.onnx: no faces can be found with it at det_size=320"):
        OpenCVFaces(broken, calls(ledger)).find(scene((4, 5)))
    another = OpenCVFacesSettings(detector=settings.detector, embedder=settings.embedder, det_size=640)
    with pytest.raises(MisconfiguredRun, match="at det_size=640"):
        OpenCVFaces(another, calls(ledger)).find(scene((4, 5)))
    swapped = OpenCVFacesSettings(detector=settings.detector, embedder=settings.detector, det_size=SIDE)
    with pytest.raises(MisconfiguredRun, match=r"yunet\.onnx: no faces can be told apart with it"):
        OpenCVFaces(swapped, calls(ledger)).find(scene((4, 5)))
    with pytest.raises(UserError, match=r"gone\.onnx: no such file: give an ONNX file, or null for opencv_zoo's"):
        OpenCVFaces(OpenCVFacesSettings(detector="gone.onnx"), calls(ledger)).prepare()


def test_settings_say_what_is_allowed() -> None:
    found = list(faults("face", OpenCVFacesSettings(det_size=600, min_score=2.0, margin=0.5)))
    assert [fault.split(" = ")[0] for fault in found] == ["face.det_size", "face.min_score", "face.margin"]
    assert "give a multiple of 32" in found[0]


def test_the_reference_is_a_square_around_the_face(faces: OpenCVFaces) -> None:
    image = Image.new("RGB", (100, 80), "blue")
    image.paste("red", (0, 0, 100, 1))
    cut = faces.reference(image, Face((40, 0, 60, 20), 0.9, np.zeros(4, np.float32)))
    assert cut.size == (224, 224)
    assert cut.getpixel((112, 10)) == (255, 0, 0)
    assert cut.getpixel((112, 200)) == (0, 0, 255)


@pytest.mark.parametrize("kind", ["face", "recogniser"])
def test_doctor_tells_what_to_fetch(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = ["frame"] if kind == "face" else ["measure_face_consistency", "frames=.", "references=."]
    assert main(["doctor", *recipe, f"{kind}=opencv", f"{kind}.folder={tmp_path / 'zoo'}", "outputs=out"]) == 2
    said = capsys.readouterr().out
    assert f"MISSING  {kind}=opencv: {YUNET.name}, MIT: " in said
    assert f"hf download opencv/face_recognition_sface {SFACE.name}" in said
