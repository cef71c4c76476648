"""Which of an actor's training images go, and how many come. Pure arithmetic: it reads no file and asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """What an actor's training images are to be.

    Attributes:
        counts: Images of each class; their sum is the total.
        tolerance: How many percentage points a class's share may differ while the total is right.
        min_quality: Images below this quality go in any case.
    """

    counts: Mapping[str, int]
    tolerance: float = 10.0
    min_quality: int = 1

    @property
    def total(self) -> int:
        """Images in all."""
        return sum(self.counts.values())

    def met_by(self, counts: Mapping[str, int]) -> bool:
        """Whether so many of each class are balanced: the total is right, and every class's share within the tolerance."""
        if sum(counts.values()) != self.total:
            return False
        classes = {*self.counts, *counts}
        return all(abs(self.gap(counts, kind)) * 100 <= self.tolerance * self.total for kind in classes)

    def gap(self, counts: Mapping[str, int], kind: str) -> int:
        """How many images of a class are too many; negative where some are missing."""
        return counts.get(kind, 0) - self.counts.get(kind, 0)

    def distance(self, counts: Mapping[str, int]) -> int:
        """Images too many and images missing, over all classes."""
        return sum(abs(self.gap(counts, kind)) for kind in {*self.counts, *counts})


@dataclass(frozen=True)
class Rated:
    """An image with what was seen in it.

    Attributes:
        number: Its number in the evaluation; tells the actor's images apart.
        kind: Its class; None where nobody could tell (a broken file).
        quality: 1 to 10; 0 for a broken file or an exact copy of another.
        at: When it was made, seconds since the epoch.
        problem: Why its quality is 0.
        stays: It may not go (it serves as the actor's base image too).
    """

    number: int
    kind: str | None
    quality: int
    at: float = 0.0
    problem: str = ""
    stays: bool = False


@dataclass(frozen=True)
class Going:
    """An image that goes, and why.

    Attributes:
        condemned: For its own quality, and not because there are too many of its class.
    """

    number: int
    why: str
    condemned: bool = False


@dataclass(frozen=True)
class Balance:
    """How an actor comes to its target.

    Attributes:
        balanced: Nothing is to be done.
        before: Usable images by class: those that are not condemned for their quality.
        goes: Images that go, condemned ones first.
        comes: New images by class.
        after: Images by class when all of that is done.
    """

    balanced: bool
    before: Mapping[str, int]
    goes: Sequence[Going] = ()
    comes: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)


class OutOfReach(Exception):
    """Images that must stay stand in the target's way; the text says which."""


def by_weight(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in the proportion of some weights, by the largest remainder; of equal remainders the class named first.

    Args:
        total: Their sum.
        weights: By class, none negative and not all 0.
    """
    whole = sum(weights.values())
    exact = {kind: total * weight / whole for kind, weight in weights.items()}
    counts = {kind: int(share) for kind, share in exact.items()}
    # Rounded, or a share that is 2.9999999999999996 for 3 would win over a true remainder.
    remainders = sorted(exact, key=lambda kind: -round(exact[kind] - counts[kind], 9))
    for kind in remainders[: total - sum(counts.values())]:
        counts[kind] += 1
    return counts


def balance(images: Iterable[Rated], target: Target) -> Balance:
    """How an actor's images come to their target.

    What is below `min_quality` goes in any case. If the rest is balanced, that is all. Otherwise exact counts are restored: of each
    class the images of lowest quality go first, of equal quality the oldest, then the lowest number; a class that the target doesn't
    name goes whole.

    Raises:
        OutOfReach: More images of a class must stay than the target has room for.
    """
    images = list(images)
    condemned = [
        image for image in images if not image.stays and (image.kind is None or image.quality < target.min_quality)
    ]
    numbers = {image.number for image in condemned}
    usable = [image for image in images if image.number not in numbers]
    before = Counter(image.kind for image in usable if image.kind is not None)
    goes = [Going(image.number, _why_condemned(image, target), condemned=True) for image in condemned]
    if target.met_by(before):
        return Balance(not goes, dict(before), goes, {}, dict(before))
    for kind in sorted(before):
        goes += _excess(kind, [image for image in usable if image.kind == kind], target)
    comes = {kind: wanted - before[kind] for kind, wanted in target.counts.items() if wanted > before[kind]}
    return Balance(False, dict(before), goes, comes, {kind: count for kind, count in target.counts.items() if count})


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Each class's percentage, to one decimal; 0 where there is no image at all."""
    total = sum(counts.values())
    return {kind: round(100 * count / total, 1) if total else 0.0 for kind, count in counts.items()}


def _excess(kind: str, images: Sequence[Rated], target: Target) -> list[Going]:
    wanted = target.counts.get(kind, 0)
    excess = max(len(images) - wanted, 0)
    free = sorted(
        (image for image in images if not image.stays), key=lambda image: (image.quality, image.at, image.number)
    )
    if excess > len(free):
        raise OutOfReach(
            f"{len(images) - len(free)} images of class {kind} serve as the base image and must stay, and the target has room for {wanted}"
        )
    there = f"{len(images)} of class {kind} where {wanted} are wanted"
    return [Going(image.number, f"{there}: {_rank(image, free[excess:])}") for image in free[:excess]]


def _why_condemned(image: Rated, target: Target) -> str:
    if image.problem:
        return image.problem
    if image.kind is None:
        return "nobody could tell what it shows"
    return f"its quality is {image.quality}, below the least of {target.min_quality}"


def _rank(image: Rated, kept: Sequence[Rated]) -> str:
    alike = [other for other in kept if other.quality == image.quality]
    if not alike:
        return f"quality {image.quality}, the lowest"
    if all(image.at < other.at for other in alike):
        return f"quality {image.quality}, and older than those of it that stay"
    return f"quality {image.quality}, and of the lowest number among as old ones of it"
