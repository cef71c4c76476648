"""Faces found, aligned and embedded by insightface's models."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from steps.backends.protocols import Face


def faces_in(app: Any, image: Image.Image) -> list[Face]:
    """What `FaceAnalysis.get` finds in an image, to the bit; the largest first.

    It aligns faces by a function of scikit-image's that is deprecated, and so warns of every face. Which warnings are shown is
    settled for all threads at once, so that one can't be kept quiet while others run: what it calls is called here without that.

    Args:
        app: `FaceAnalysis` with a detector and one embedder. It may serve one thread at a time.
        image: Of any size and mode.
    """
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
    boxes, points = app.det_model.detect(pixels, max_num=0, metric="default")
    embedder = app.models["recognition"]
    found = []
    for box, five in zip(boxes, points if len(boxes) else (), strict=True):
        crop = _aligned(pixels, five, embedder.input_size[0])
        # Five points in one place are no face that could be told from another.
        if crop is not None:
            embedding = embedder.get_feat(crop).flatten()
            left, top, right, bottom = (float(value) for value in box[:4])
            found.append(Face((left, top, right, bottom), float(box[4]), embedding / np.linalg.norm(embedding)))
    return sorted(found, key=lambda face: -_area(face.box))


def _aligned(pixels: Any, points: Any, side: int) -> Any:
    """A face's pixels (side, side, 3), its eyes, nose and mouth where ArcFace expects them; None where its points can't be moved there."""
    import cv2
    from insightface.utils.face_align import arcface_dst
    from skimage.transform import SimilarityTransform

    # ArcFace's points are of 112 pixels, and of 128 with 8 more on either side (insightface.utils.face_align).
    ratio, beside = (side / 112, 0.0) if side % 112 == 0 else (side / 128, 8.0 * side / 128)
    expected = arcface_dst * ratio
    expected[:, 0] += beside
    moved = SimilarityTransform.from_estimate(points, expected)
    return cv2.warpAffine(pixels, moved.params[:2], (side, side), borderValue=0.0) if moved else None


def _area(box: tuple[float, float, float, float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
