"""The figures that the project's source documents claim, each held against what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steps.measures.faces import rescaled

HOLDS, FAILS, NOT_MEASURED = "holds", "does not", "not measured"
EMBEDDED = "embedded"
"""Begins the identity of the models that ship: what they take says nothing of SDXL on a GPU."""
GB, MB = 1e9, 1e6


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict.

    Attributes:
        claim: What is claimed, with its figure.
        measured: What was measured, in words; empty where nothing was.
        verdict: HOLDS, FAILS or NOT_MEASURED.
        note: Why, in a sentence; may be empty.
    """

    claim: str
    measured: str
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """What claims are held against; None and empty where it is not to be had.

    Attributes:
        arms: By arm and metric, the mean.
        seconds_a_frame: By arm.
        memory: By arm, the peak in bytes.
        seconds_a_storyboard: Mean over all.
        usd_a_storyboard: Mean over all, its language model's share included.
        threshold: The CLIPScore of the gate.
        passed: Share of frames that reached it.
        diffusion: Identity of the image model.
        clip: Identity of the encoder.
        training: results.json of trainings.
        captions: results.json of captionings.
        opinion: Mean opinion score of people, 1 to 5, and how many they were.
    """

    arms: Mapping[str, Mapping[str, float | None]]
    seconds_a_frame: Mapping[str, float]
    memory: Mapping[str, float | None]
    seconds_a_storyboard: float | None
    usd_a_storyboard: float | None
    threshold: float | None
    passed: float | None
    diffusion: str
    clip: str
    training: Sequence[Mapping[str, Any]] = ()
    captions: Sequence[Mapping[str, Any]] = ()
    opinion: tuple[float, int] | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether the models that ship were measured."""
        return self.diffusion.startswith(EMBEDDED)

    def mean(self, arm: str, metric: str) -> float | None:
        """The mean of an arm."""
        return self.arms.get(arm, {}).get(metric)


def claims(evidence: Evidence) -> list[Claim]:
    """Every claim, in the order of the documents."""
    return [
        *_faces(evidence),
        *_gate(evidence),
        *_speed(evidence),
        *_training(evidence),
        *_costs(evidence),
        _opinion(evidence),
    ]


def _faces(evidence: Evidence) -> Iterator[Claim]:
    """Similarity to frame 1, which the documents speak of."""
    simple, reference = evidence.mean("simple", "frame1"), evidence.mean("reference", "frame1")
    for words, of in (("raw cosine", lambda cosine: cosine), ("rescaled (cos+1)/2", rescaled)):
        yield _value(
            f"faces in simple mode about 0.65 similar to frame 1, {words}",
            None if simple is None else of(simple),
            lambda value: abs(value - 0.65) <= 0.05,
            "within 0.05 counts as about",
        )
        yield _value(
            f"faces in reference mode above 0.85 similar to frame 1, {words}",
            None if reference is None else of(reference),
            lambda value: value > 0.85,
        )
    yield _gain("reference mode's faces 30 % more similar to frame 1 than simple mode's", reference, simple, 0.30)
    yield _gain(
        "a LoRA makes frames 40 % more consistent than the plain model",
        evidence.mean("simple", "consistency"),
        evidence.mean("baseline", "consistency"),
        0.40,
    )


def _gain(claim: str, better: float | None, worse: float | None, share: float) -> Claim:
    if better is None or worse is None:
        return Claim(claim, "", NOT_MEASURED, "an arm is missing")
    if worse <= 0:
        return Claim(
            claim, f"{better:.3f} against {worse:.3f}", NOT_MEASURED, "a share of a cosine of 0 or less has no meaning"
        )
    gain = better / worse - 1
    return Claim(
        claim,
        f"{100 * gain:+.0f} % ({better:.3f} against {worse:.3f})",
        HOLDS if gain >= share else FAILS,
        "a ratio of cosines depends on where 0 lies: read the differences",
    )


def _gate(evidence: Evidence) -> Iterator[Claim]:
    claim = "a CLIP score of 0.70 tells frames that fit their text"
    if evidence.threshold is None or evidence.passed is None:
        yield Claim(claim, "", NOT_MEASURED)
        return
    measured = f"{100 * evidence.passed:.0f} % of the kept frames reach {evidence.threshold:.2f}"
    if evidence.clip.startswith(EMBEDDED):
        note = "the embedded CLIP has a threshold of its own; 0.70 is of ViT-B/32 with the prefix 'A photo depicts'"
        yield Claim(claim, measured, NOT_MEASURED, note)
        return
    verdict = HOLDS if abs(evidence.threshold - 0.70) < 1e-9 and evidence.passed >= 0.5 else FAILS
    yield Claim(claim, measured, verdict, "holds where at least half of the kept frames reach it")


def _speed(evidence: Evidence) -> Iterator[Claim]:
    for arm, seconds, gigabytes in (("simple", 30, 10), ("reference", 60, 18)):
        yield _of_machine(
            evidence,
            f"{seconds} s a frame in {arm} mode",
            evidence.seconds_a_frame.get(arm),
            lambda value, most=seconds: value <= most * 1.1,
            "{:.2f} s",
        )
        memory = evidence.memory.get(arm)
        yield _of_machine(
            evidence,
            f"{gigabytes} GB of memory in {arm} mode",
            None if memory is None else memory / GB,
            lambda value, most=gigabytes: value <= most * 1.1,
            "{:.1f} GB",
        )


def _training(evidence: Evidence) -> Iterator[Claim]:
    minutes = _mean(row.get("seconds") for row in evidence.training)
    usd = _mean(row.get("usd") for row in evidence.training)
    size = _mean(row.get("lora_bytes") for row in evidence.training)
    yield _of_machine(
        evidence,
        "90 to 120 minutes for a training",
        None if minutes is None else minutes / 60,
        lambda value: 90 <= value <= 120,
        "{:.1f} minutes",
    )
    yield _of_machine(
        evidence, "1.50 to 2 dollars for a training", usd, lambda value: 1.5 <= value <= 2, "{:.2f} dollars"
    )
    yield _of_machine(
        evidence,
        "100 MB for a LoRA",
        None if size is None else size / MB,
        lambda value: 50 <= value <= 150,
        "{:.2f} MB",
    )


def _costs(evidence: Evidence) -> Iterator[Claim]:
    usd = _mean(row.get("usd_per_image") for row in evidence.captions)
    seconds = _mean(row.get("seconds_per_image") for row in evidence.captions)
    yield _of_machine(evidence, "0.10 dollars for a caption", usd, lambda value: 0 < value <= 0.11, "{:.3f} dollars")
    yield _of_machine(evidence, "10 s for a caption", seconds, lambda value: value <= 11, "{:.2f} s")
    yield _of_machine(
        evidence,
        "0.20 dollars for a storyboard",
        evidence.usd_a_storyboard or None,
        lambda value: value <= 0.22,
        "{:.3f} dollars",
    )
    whole = evidence.seconds_a_storyboard
    yield _of_machine(
        evidence,
        "3 to 10 minutes for a storyboard",
        None if whole is None else whole / 60,
        lambda value: 3 <= value <= 10,
        "{:.2f} minutes",
    )


def _opinion(evidence: Evidence) -> Claim:
    claim = "people rate the quality above 4.0 of 5"
    if evidence.opinion is None:
        return Claim(claim, "", NOT_MEASURED, "ask people: callsheet study build RUNS")
    score, raters = evidence.opinion
    few = "fewer than 5 people were asked" if raters < 5 else ""
    return Claim(claim, f"{score:.2f} by {raters} people", HOLDS if score > 4.0 else FAILS, few)


def _value(claim: str, value: float | None, good: Any, note: str = "") -> Claim:
    if value is None:
        return Claim(claim, "", NOT_MEASURED, "the arm is missing")
    return Claim(claim, f"{value:.3f}", HOLDS if good(value) else FAILS, note)


def _of_machine(evidence: Evidence, claim: str, value: float | None, good: Any, shown: str) -> Claim:
    """A claim about SDXL and its machine, which models of another size can neither show nor refute."""
    measured = "" if value is None else shown.format(value)
    if evidence.is_embedded:
        told = f"{measured} (embedded models)" if measured else ""
        return Claim(claim, told, NOT_MEASURED, "claimed of SDXL on an H100, and of OpenAI's models")
    if value is None:
        return Claim(claim, "", NOT_MEASURED)
    return Claim(claim, measured, HOLDS if good(value) else FAILS)


def _mean(values: Any) -> float | None:
    known = [float(value) for value in values if isinstance(value, (int, float))]
    return sum(known) / len(known) if known else None
