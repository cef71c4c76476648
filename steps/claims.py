"""The figures that the project's source documents claim, each held against what was measured.

A verdict needs footing: enough stories or people, and a 95 % interval that lies wholly on one side of what is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from steps.measures.faces import rescaled
from steps.measures.power import LEAST_STORIES
from steps.measures.ratings import ENOUGH_RATERS, Opinion
from steps.measures.statistics import Estimate

HOLDS, FAILS, UNSURE, NOT_MEASURED = "holds", "does not", "not told apart", "not measured"
EMBEDDED = "embedded"
"""Begins the identity of the models that ship, of which the documents claim nothing."""
ANOTHER_WORLD = "with the embedded models; claimed of SDXL"
ANOTHER_MACHINE = "claimed of SDXL on an H100, and of OpenAI's models"
NOTHING = "nothing could be measured"
NO_TRAINING = "no figure of a training was given: training=FOLDER of the step train"
NO_CAPTIONS = "no figure of a captioning was given: captions=FOLDER of the step caption"
CLAIMED_GATE = 0.70
GB, MB = 1e9, 1e6
_MOST = 1e15
"""Seconds, bytes or dollars: more than any training or caption takes."""


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict.

    Attributes:
        claim: What is claimed, with its figure.
        measured: What was measured, in words; empty where nothing was.
        verdict: HOLDS, FAILS, UNSURE or NOT_MEASURED.
        note: Why, and what to know beside it; may be empty.
    """

    claim: str
    measured: str
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """What claims are held against; None and empty where it is not to be had.

    Attributes:
        arms: By arm and metric.
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
        opinion: Of people, about the best mode that they were shown.
    """

    arms: Mapping[str, Mapping[str, Estimate]]
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
    opinion: Opinion | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether the models that ship were measured."""
        return self.diffusion.startswith(EMBEDDED)

    @property
    def world(self) -> str:
        """What to know of every figure of these images; empty where the claims are of the models that drew them."""
        return ANOTHER_WORLD if self.is_embedded else ""

    def figure(self, arm: str, metric: str) -> _Figure | None:
        """The mean of an arm; None where there is none."""
        found = self.arms.get(arm, {}).get(metric)
        return None if found is None or found.mean is None else _Figure.of(found)

    def missing(self, *arms: str) -> str:
        """Why there is no figure of arms."""
        return next((f"the arm {arm} is missing" for arm in arms if arm not in self.arms), NOTHING)


class _Figure(NamedTuple):
    """A mean with its 95 % interval, of `n` values from some stories; the interval is None where there are too few."""

    mean: float
    low: float | None
    high: float | None
    n: int
    stories: int

    @classmethod
    def of(cls, found: Estimate) -> _Figure:
        assert found.mean is not None
        return cls(found.mean, found.low, found.high, found.n, found.clusters)

    def mapped(self, of: Callable[[float], float]) -> _Figure:
        """On another scale, which rises with this one."""
        low, high = (None if end is None else of(end) for end in (self.low, self.high))
        return self._replace(mean=of(self.mean), low=low, high=high)

    def __str__(self) -> str:
        return f"{self.mean:.3f}{_between(self.low, self.high)}, n = {self.n}, {_stories(self.stories)}"


class _Range(NamedTuple):
    """What is claimed: more than `least`, and less than `most`."""

    least: float
    most: float = math.inf

    def verdict(self, low: float, high: float) -> str:
        """Of an interval."""
        if self.least < low and high < self.most:
            return HOLDS
        return FAILS if high < self.least or low > self.most else UNSURE


def claims(evidence: Evidence) -> list[Claim]:
    """Every claim, in the order of the documents."""
    return [
        *_faces(evidence),
        _gate(evidence),
        *_speed(evidence),
        *_training(evidence),
        *_costs(evidence),
        _opinion(evidence),
    ]


def _faces(evidence: Evidence) -> Iterator[Claim]:
    """Similarity to frame 1, which the documents speak of."""
    simple, reference = evidence.figure("simple", "frame1"), evidence.figure("reference", "frame1")
    for words, of in (("raw cosine", _raw), ("rescaled (cos+1)/2", rescaled)):
        claim = f"faces in simple mode about 0.65 similar to frame 1, {words}"
        why = evidence.missing("simple")
        yield _similarity(evidence, claim, simple and simple.mapped(of), _Range(0.60, 0.70), why)
        claim = f"faces in reference mode above 0.85 similar to frame 1, {words}"
        why = evidence.missing("reference")
        yield _similarity(evidence, claim, reference and reference.mapped(of), _Range(0.85), why)
    claim = "reference mode's faces 30 % more similar to frame 1 than simple mode's"
    yield _gain(evidence, claim, ("reference", "simple"), "frame1", 0.30)
    claim = "a LoRA makes frames 40 % more consistent than the plain model"
    yield _gain(evidence, claim, ("simple", "baseline"), "consistency", 0.40)


def _raw(cosine: float) -> float:
    return cosine


def _similarity(evidence: Evidence, claim: str, found: _Figure | None, wanted: _Range, missing: str) -> Claim:
    if found is None:
        return Claim(claim, "", NOT_MEASURED, missing)
    verdict, why = _judged(wanted, found.low, found.high, found.stories)
    about = "within 0.05 counts as about" if math.isfinite(wanted.most) else ""
    return Claim(claim, str(found), verdict, _note(why, about, evidence.world))


def _gain(evidence: Evidence, claim: str, arms: tuple[str, str], metric: str, share: float) -> Claim:
    """How much more the first arm has than the second, as a share."""
    better, worse = (evidence.figure(arm, metric) for arm in arms)
    if better is None or worse is None:
        return Claim(claim, "", NOT_MEASURED, evidence.missing(*arms))
    against = f"{better.mean:.3f} against {worse.mean:.3f}"
    if worse.mean <= 0:
        return Claim(claim, against, NOT_MEASURED, "a share of a cosine of 0 or less has no meaning")
    stories = min(better.stories, worse.stories)
    verdict, why = _judged(_Range(share), *_ends(better, worse), stories)
    note = _note(why, "a ratio of cosines depends on where 0 lies: read the differences", evidence.world)
    return Claim(
        claim, f"{100 * (better.mean / worse.mean - 1):+.0f} % ({against}), {_stories(stories)}", verdict, note
    )


def _ends(better: _Figure, worse: _Figure) -> tuple[float | None, float | None]:
    """How small and how large a gain may be where both means are anywhere in their intervals: wider than the gain's own interval."""
    if better.low is None or better.high is None or worse.low is None or worse.high is None:
        return None, None
    if worse.low <= 0:
        return -math.inf, math.inf
    ratios = [ours / theirs for ours in (better.low, better.high) for theirs in (worse.low, worse.high)]
    return min(ratios) - 1, max(ratios) - 1


def _gate(evidence: Evidence) -> Claim:
    claim = f"a CLIP score of {CLAIMED_GATE:.2f} tells frames that fit their text"
    if evidence.threshold is None or evidence.passed is None:
        return Claim(claim, "", NOT_MEASURED, NOTHING)
    measured = f"{100 * evidence.passed:.0f} % of the kept frames reach {evidence.threshold:.2f}"
    if evidence.clip.startswith(EMBEDDED):
        note = f"the embedded CLIP has a threshold of its own; {CLAIMED_GATE:.2f} is of ViT-B/32 with the prefix 'A photo depicts'"
        return Claim(claim, measured, NOT_MEASURED, note)
    if not math.isclose(evidence.threshold, CLAIMED_GATE):
        return Claim(claim, measured, NOT_MEASURED, f"another threshold was set: draw with threshold={CLAIMED_GATE:g}")
    shares = [found for arm in evidence.arms if (found := evidence.figure(arm, "passed")) is not None]
    lows, highs = (
        [end for end in ends if end is not None]
        for ends in ([each.low for each in shares], [each.high for each in shares])
    )
    stories = min((each.stories for each in shares), default=0)
    verdict, why = _judged(_Range(0.5), min(lows, default=None), max(highs, default=None), stories)
    note = _note(why, "holds where in every arm more than half of the kept frames reach it", evidence.world)
    return Claim(claim, measured, verdict, note)


def _speed(evidence: Evidence) -> Iterator[Claim]:
    for arm, seconds, gigabytes in (("simple", 30, 10), ("reference", 60, 18)):
        yield _of_machine(
            evidence,
            f"{seconds} s a frame in {arm} mode",
            evidence.seconds_a_frame.get(arm),
            _at_most(seconds),
            "{:.2f} s",
            evidence.missing(arm),
        )
        memory = evidence.memory.get(arm)
        yield _of_machine(
            evidence,
            f"{gigabytes} GB of memory in {arm} mode",
            None if memory is None else memory / GB,
            _at_most(gigabytes),
            "{:.1f} GB",
            evidence.missing(arm),
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
        NO_TRAINING,
    )
    yield _of_machine(
        evidence,
        "1.50 to 2 dollars for a training",
        usd,
        lambda value: 1.5 <= value <= 2,
        "{:.2f} dollars",
        NO_TRAINING,
    )
    yield _of_machine(
        evidence,
        "100 MB for a LoRA",
        None if size is None else size / MB,
        lambda value: 50 <= value <= 150,
        "{:.2f} MB",
        NO_TRAINING,
    )


def _costs(evidence: Evidence) -> Iterator[Claim]:
    usd = _mean(row.get("usd_per_image") for row in evidence.captions)
    seconds = _mean(row.get("seconds_per_image") for row in evidence.captions)
    yield _of_machine(
        evidence, "0.10 dollars for a caption", usd, lambda value: 0 < value <= 0.11, "{:.3f} dollars", NO_CAPTIONS
    )
    yield _of_machine(evidence, "10 s for a caption", seconds, _at_most(10), "{:.2f} s", NO_CAPTIONS)
    yield _of_machine(
        evidence,
        "0.20 dollars for a storyboard",
        evidence.usd_a_storyboard or None,
        _at_most(0.20),
        "{:.3f} dollars",
        "nobody said what the machine costs: give diffusion.gpu_usd_per_hour",
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
    claim, found = "people rate the quality above 4.0 of 5", evidence.opinion
    if found is None:
        note = "nobody was asked about these storyboards: callsheet study build RUNS makes a page for raters"
        return Claim(claim, "", NOT_MEASURED, note)
    who = "1 person" if found.raters == 1 else f"{found.raters} people"
    verdict, why = UNSURE, f"{found.raters} of the {ENOUGH_RATERS} people that a verdict needs"
    if found.raters >= ENOUGH_RATERS:
        verdict, why = _sided(_Range(4.0), found.low, found.high)
    measured = f"{found.mean:.2f}{_between(found.low, found.high, 2)} by {who}, of mode {found.arm}"
    return Claim(claim, measured, verdict, _note(why, evidence.world))


def _judged(wanted: _Range, low: float | None, high: float | None, stories: int) -> tuple[str, str]:
    """A verdict, and why there is none."""
    if stories < LEAST_STORIES:
        return UNSURE, f"{stories} of the {LEAST_STORIES} stories that a verdict needs"
    return _sided(wanted, low, high)


def _sided(wanted: _Range, low: float | None, high: float | None) -> tuple[str, str]:
    if low is None or high is None:
        return UNSURE, "there is no interval"
    verdict = wanted.verdict(low, high)
    return verdict, "the interval lies on both sides of what is claimed" if verdict == UNSURE else ""


def _of_machine(
    evidence: Evidence,
    claim: str,
    value: float | None,
    good: Callable[[float], bool],
    shown: str,
    missing: str = NOTHING,
) -> Claim:
    """A claim about SDXL and its machine, which models of another size can neither show nor refute."""
    if value is None:
        return Claim(claim, "", NOT_MEASURED, missing)
    measured = shown.format(value)
    if evidence.is_embedded:
        return Claim(claim, f"{measured} (embedded models)", NOT_MEASURED, ANOTHER_MACHINE)
    return Claim(claim, measured, HOLDS if good(value) else FAILS, ANOTHER_MACHINE)


def _at_most(claimed: float) -> Callable[[float], bool]:
    """A tenth more counts as well."""
    return lambda value: value <= 1.1 * claimed


def _note(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)


def _between(low: float | None, high: float | None, digits: int = 3) -> str:
    return "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"


def _stories(number: int) -> str:
    return f"{number} {'story' if number == 1 else 'stories'}"


def _mean(values: Iterable[Any]) -> float | None:
    """Of what is a plain number from 0 on; results of other programs may hold anything."""
    known = [float(value) for value in values if type(value) in (int, float) and 0 <= value <= _MOST]
    return sum(known) / len(known) if known else None
