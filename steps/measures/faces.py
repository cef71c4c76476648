"""How alike faces are: within a storyboard, to true images of the character, to what the model was conditioned on.

All similarities are raw cosines of unit embeddings, of a recogniser that the images were neither conditioned on nor chosen by; what
a number of one recogniser means is told by the scale of the same recogniser (real against real, impostors), not by another paper.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

SEVERAL_FACES = "Where a frame has several faces, the largest counts."
LEAST_TRUTH = 0.05
"""A conditioning image that is no more like the truth than this tells nothing about copying: the score is a ratio to it."""
LEAST_RANGE = 0.05
"""Where ceiling and floor are no further apart than this, the recogniser can't tell the character from others: no headline."""


@dataclass(frozen=True)
class FrameFaces:
    """What was found in one frame.

    Attributes:
        frame: From 1.
        faces: How many.
        embedding: Of the largest (D,); None where there is none.
    """

    frame: int
    faces: int
    embedding: Any | None

    @classmethod
    def of(cls, frame: int, embeddings: Sequence[Any]) -> FrameFaces:
        """From the embeddings of all its faces, the largest first."""
        return cls(frame, len(embeddings), embeddings[0] if len(embeddings) else None)


@dataclass(frozen=True)
class Scale:
    """What cosines mean with this recogniser and this character.

    Attributes:
        ceiling: Mean cosine of all pairs of true images; None with fewer than two.
        floor: Mean cosine of true images with impostors; None without impostors.
        separation: The chance that a pair of true images is more alike than a true image and an impostor, ties counted half (area
            under the ROC curve): 0.5 is chance, 1 tells all apart.
        references: How many true images.
        impostors: How many.
    """

    ceiling: float | None
    floor: float | None
    separation: float | None
    references: int
    impostors: int


@dataclass(frozen=True)
class FrameLikeness:
    """One frame's numbers.

    Attributes:
        frame: From 1.
        faces: How many were found.
        likeness: Mean cosine with the held-out true images; None without a face or without any true image.
        frame1: Cosine with frame 1; None for frame 1, and where either has no face.
        copy_paste: See `copy_paste`; None where it can't be had, or the frame was not conditioned.
    """

    frame: int
    faces: int
    likeness: float | None
    frame1: float | None
    copy_paste: float | None


@dataclass(frozen=True)
class StoryboardLikeness:
    """One storyboard's numbers. "with_missing" counts 0 for a frame, or a pair of frames, in which a face is missing.

    Attributes:
        frames: Each.
        consistency: Mean cosine of all pairs of frames 2..N that have a face; None with fewer than two.
        consistency_with_missing: Of all pairs of frames 2..N; None with fewer than two frames.
        likeness: Mean over the frames that have a face.
        likeness_with_missing: Mean over all frames; None without any true image.
        frame1: Mean over the frames from 2 that have a face, where frame 1 has one.
        frame1_with_missing: Mean over all frames from 2; None where there are none.
        copy_paste: Mean over the frames that were conditioned and have a face.
        detection_rate: Share of the frames with a face.
        several_faces: Frames with more than one.
        headline: The likeness on the character's scale, see `headline`.
    """

    frames: tuple[FrameLikeness, ...]
    consistency: float | None
    consistency_with_missing: float | None
    likeness: float | None
    likeness_with_missing: float | None
    frame1: float | None
    frame1_with_missing: float | None
    copy_paste: float | None
    detection_rate: float
    several_faces: int
    headline: float | None

    def values(self) -> dict[str, float | None]:
        """Its numbers by name, for `statistics.Unit`."""
        return {name: value for name, value in vars(self).items() if name != "frames"}


class Character:
    """What is known of one character's face.

    Attributes:
        scale: What cosines mean.
    """

    def __init__(self, references: Any, impostors: Any | None = None) -> None:
        """Embeddings are scaled to length 1.

        Args:
            references: Of true images that no model has seen (R, D); R may be 0.
            impostors: Of other people (M, D).

        Raises:
            ValueError: An embedding of length 0.
        """
        self._references = unit(references)
        self.scale = scale_of(self._references, impostors)

    def measure(
        self, frames: Iterable[FrameFaces], conditioning: Any | None = None, conditioned_from: int = 1
    ) -> StoryboardLikeness:
        """A storyboard's numbers.

        Args:
            frames: What was found in each.
            conditioning: Of the face that the model was given (D,); None where it was given none.
            conditioned_from: The first frame that was given it: 2 where it is frame 1's own.

        Raises:
            ValueError: No frame, two with one number, or an embedding of length 0.
        """
        ordered = sorted(frames, key=lambda each: each.frame)
        if len({each.frame for each in ordered}) < max(len(ordered), 1):
            raise ValueError("a storyboard has at least one frame, and each once")
        faces = {each.frame: None if each.embedding is None else unit(each.embedding) for each in ordered}
        given = None if conditioning is None else unit(conditioning)
        told = tuple(
            FrameLikeness(
                frame=each.frame,
                faces=each.faces,
                likeness=self.likeness(faces[each.frame]),
                frame1=_cosine(faces[each.frame], faces.get(1)) if each.frame > 1 else None,
                copy_paste=self._copied(faces[each.frame], given) if each.frame >= conditioned_from else None,
            )
            for each in ordered
        )
        return self._whole(told, faces)

    def _whole(self, told: tuple[FrameLikeness, ...], faces: Mapping[int, Any | None]) -> StoryboardLikeness:
        likeness = [each.likeness for each in told]
        frame1 = [each.frame1 for each in told if each.frame > 1 and 1 in faces]
        later = [face for frame, face in faces.items() if frame > 1]
        pairs = [_cosine(one, other) for one, other in combinations(later, 2)]
        found = _mean(likeness)
        return StoryboardLikeness(
            frames=told,
            consistency=_mean(pairs),
            consistency_with_missing=_mean_with_missing(pairs),
            likeness=found,
            likeness_with_missing=_mean_with_missing(likeness) if len(self._references) else None,
            frame1=_mean(frame1),
            frame1_with_missing=_mean_with_missing(frame1),
            copy_paste=_mean([each.copy_paste for each in told]),
            detection_rate=sum(face is not None for face in faces.values()) / len(faces),
            several_faces=sum(each.faces > 1 for each in told),
            headline=headline(found, self.scale),
        )

    def likeness(self, face: Any | None) -> float | None:
        """Mean cosine of a face (D,), of length 1, with the true images."""
        if face is None or not len(self._references):
            return None
        return float(np.mean(self._references @ face))

    def _copied(self, face: Any | None, given: Any | None) -> float | None:
        return copy_paste(_cosine(face, given), self.likeness(face), self.likeness(given))


def copy_paste(to_conditioning: float | None, to_truth: float | None, of_conditioning: float | None) -> float | None:
    """How much more a frame is like the image that was given than like the truth.

    (similarity to the conditioning image - similarity to the held-out truth) / similarity(conditioning image, truth),

    where similarity to the truth is the mean cosine with all held-out true images. 0 is a face as like the truth as the given image;
    the more it is above 0 the more of that one image was copied; below 0 the frame is nearer to the truth than to what was given.

    Args:
        to_conditioning: Cosine of the frame with the conditioning image.
        to_truth: Mean cosine of the frame with the true images.
        of_conditioning: Mean cosine of the conditioning image with the true images.

    Returns:
        None where one of them is missing, or the last is 0.05 or less: a ratio to next to nothing says nothing.
    """
    if to_conditioning is None or to_truth is None or of_conditioning is None or of_conditioning <= LEAST_TRUTH:
        return None
    return (to_conditioning - to_truth) / of_conditioning


def scale_of(references: Any, impostors: Any | None = None) -> Scale:
    """The character's scale, from embeddings of true images (R, D) and of other people (M, D); raises as `Character`."""
    true, others = unit(references), None if impostors is None or not len(impostors) else unit(impostors)
    pairs = (true @ true.T)[np.triu_indices(len(true), 1)] if len(true) > 1 else np.empty(0)
    strange = np.empty(0) if others is None or not len(true) else (true @ others.T).ravel()
    return Scale(
        ceiling=float(pairs.mean()) if len(pairs) else None,
        floor=float(strange.mean()) if len(strange) else None,
        separation=_separation(pairs, strange),
        references=len(true),
        impostors=0 if others is None else len(others),
    )


def headline(likeness: float | None, scale: Scale) -> float | None:
    """(likeness - floor) / (ceiling - floor): 0 is anybody, 1 is as like as true images are to one another.

    None where one of them is missing, or the ceiling is not more than 0.05 above the floor. Intervals of it over stories take the
    scale as given, however few true images that is made from.
    """
    if likeness is None or scale.ceiling is None or scale.floor is None or scale.ceiling - scale.floor <= LEAST_RANGE:
        return None
    return (likeness - scale.floor) / (scale.ceiling - scale.floor)


def rescaled(cosine: float) -> float:
    """(cosine + 1) / 2, as some write similarities: 0.70 is said as 0.85."""
    return (cosine + 1) / 2


def unit(embeddings: Any) -> Any:
    """Embeddings (..., D) scaled to length 1, float64.

    Raises:
        ValueError: One has length 0, or is no number.
    """
    values = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    if values.size and not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("an embedding has length 0, or holds what is no number")
    return values / lengths if values.size else values.reshape(0, 0)


def _cosine(one: Any | None, other: Any | None) -> float | None:
    return None if one is None or other is None else float(one @ other)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _mean_with_missing(values: Sequence[float | None]) -> float | None:
    return statistics.fmean(value or 0.0 for value in values) if values else None


def _separation(pairs: Any, strange: Any) -> float | None:
    if not (len(pairs) and len(strange)):
        return None
    above = (pairs[:, None] > strange).mean() + 0.5 * (pairs[:, None] == strange).mean()
    return float(above)
