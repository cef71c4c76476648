"""Make an image and look at it, until one passes the look that condemned the old one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from runner import files
from runner.errors import BadAnswer, ItemError, Refused
from runner.failpoints import failpoint
from runner.operations import Operations
from runner.run import now
from steps.backends.protocols import ImageMaker, ImageRequest
from steps.library import pictures
from steps.library.journal import STAGED, ActionRecord, Arrival, Journal
from steps.library.made import MadeRecord
from steps.library.pictures import Picture
from steps.library.plans import Making
from steps.library.transaction import Replacement


class NotGood(Exception):
    """One image that did not pass; the text is the reason."""


class NonePassed(ItemError):
    """As many images were made as may be, and none passed; `reasons` says why, `record` holds what there is else."""

    def __init__(self, attempts: int, reasons: str, record: ActionRecord) -> None:
        super().__init__(f"none of {attempts} new images passed: {reasons}")
        self.attempts = attempts
        self.reasons = reasons
        self.record = record


@dataclass(frozen=True)
class Order:
    """An image that is wanted.

    Attributes:
        make: What the plan says of it.
        facts: The data that its prompt was made from.
        reference: An image to stay true to.
        attempts: Images made until one passes.
        look: Says what is wrong with an image, or None where it is good.
    """

    make: Making
    look: Callable[[Picture], str | None]
    attempts: int
    facts: Mapping[str, str] = field(default_factory=dict)
    reference: Picture | None = None


class Maker:
    """Makes the images of actions, each journalled before it is looked at, so that a cut-off look is not paid for by another image."""

    def __init__(self, image: ImageMaker, replacement: Replacement, journal: Journal, operations: Operations) -> None:
        self._image = image
        self._replacement = replacement
        self._journal = journal
        self._operations = operations

    def make(self, record: ActionRecord, arrival: Arrival, order: Order) -> ActionRecord:
        """The record with a verified image for one of its arrivals.

        Args:
            record: How far an earlier try came: images that did not pass are not made again, one that waits is looked at.
            arrival: Which image.
            order: What it is to be.

        Raises:
            NonePassed: The old image stays.
        """
        reasons: list[str] = []
        while arrival.attempts < order.attempts:
            try:
                if not self._replacement.waits(record, arrival):
                    arrival = self._draw(record, arrival, order)
                    record = record.with_arrival(arrival)
                    self._journal.note(record, STAGED)
                    failpoint("execute.staged")
                self._look(record, arrival, order)
            except NotGood as error:
                reasons.append(str(error))
                arrival = replace(arrival, attempts=arrival.attempts + 1, made=None)
                record = record.with_arrival(arrival)
                self._journal.note(record, STAGED)
                continue
            record = record.with_arrival(replace(arrival, passed=True))
            self._journal.note(record, STAGED)
            return record
        files.remove(self._replacement.staged(record.id, arrival))
        raise NonePassed(order.attempts, "; ".join(reasons) or "tried before", record)

    def _draw(self, record: ActionRecord, arrival: Arrival, order: Order) -> Arrival:
        make, seed = order.make, _seed_of(order.make, arrival.attempts)
        request = ImageRequest(
            key=f"{record.id}/{arrival.slot}/{arrival.attempts}",
            prompt=make.prompt,
            width=make.width,
            height=make.height,
            steps=make.steps,
            seed=seed,
            reference=order.reference,
            facts=order.facts,
        )
        try:
            image = self._image.make(request)
        except Refused as error:
            raise NotGood(f"seed {seed} was refused: {error}") from error
        staged = self._replacement.staged(record.id, arrival)
        files.write_bytes(staged, _as_jpeg(image.data, record.actor_name))
        made = MadeRecord(files.sha256_of(staged), image.model, make.prompt, seed, record.id, now(), image.usd)
        return replace(arrival, made=made)

    def _look(self, record: ActionRecord, arrival: Arrival, order: Order) -> None:
        assert arrival.made is not None
        try:
            fault = order.look(pictures.load(self._replacement.staged(record.id, arrival)))
        except (BadAnswer, Refused) as error:
            # Nobody can say that it is good; another one may be judged.
            fault = f"could not be judged: {error}"
        if fault is not None:
            raise NotGood(f"seed {arrival.made.seed}: {fault}")
        self._operations.record(
            "make", arrival.path, action=record.id, seed=arrival.made.seed, model=arrival.made.model
        )


def _as_jpeg(data: bytes, name: str) -> bytes:
    """The image as it will be stored; what a backend sent as JPEG stays byte for byte."""
    try:
        picture = pictures.decode(data, f"the new image of {name}")
    except ItemError as error:
        raise NotGood(f"what came back is no image: {error}") from error
    return data if data.startswith(b"\xff\xd8\xff") else pictures.encode_jpeg(picture.image)


def _seed_of(make: Making, attempt: int) -> int:
    """The plan's seed first, then others that follow from it."""
    if attempt == 0:
        return make.seed
    return random.Random(f"{make.seed}/{attempt}").randrange(2**31)  # noqa: S311 - to be repeatable
