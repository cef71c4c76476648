"""Make an image and look at it, until one passes the look that condemned the old one."""

from __future__ import annotations

import random
from dataclasses import replace

from runner import files
from runner.errors import ItemError, Refused
from runner.failpoints import failpoint
from runner.operations import Operations
from runner.run import now
from steps import judging
from steps.backends.protocols import ImageMaker, ImageRequest, Vision
from steps.library import pictures
from steps.library.actors import Actor
from steps.library.journal import FAILED, INTENT, MADE, STAGED, ActionRecord, Journal
from steps.library.made import MadeRecord
from steps.library.plans import PlannedAction
from steps.library.transaction import Replacement


class NotGood(Exception):
    """One image that did not pass; the text is the reason."""


class Maker:
    """Makes the images of actions, each journalled before it is looked at, so that a cut-off look is not paid for by another image."""

    def __init__(
        self, vision: Vision, image: ImageMaker, replacement: Replacement, journal: Journal, operations: Operations
    ) -> None:
        self._vision = vision
        self._image = image
        self._replacement = replacement
        self._journal = journal
        self._operations = operations

    def make(
        self, actor: Actor, action: PlannedAction, record: ActionRecord, *, attempts: int, prompt: str
    ) -> ActionRecord:
        """The record with a verified image.

        Args:
            actor: Whom it shows.
            action: What the plan asks for.
            record: How far an earlier try came: images that did not pass are not made again, one that waits is looked at.
            attempts: Images in all.
            prompt: What the vision backend is asked.

        Raises:
            ItemError: None passed; the old image stays.
        """
        reasons: list[str] = []
        while record.attempts < attempts:
            try:
                if not self.waits(record):
                    record = self._draw(actor, action, record)
                self._look(actor, record, prompt)
            except NotGood as error:
                reasons.append(str(error))
                record = replace(record, attempts=record.attempts + 1, image=None)
                self._journal.note(record, INTENT)
                continue
            self._journal.note(record, MADE)
            failpoint("execute.made")
            return record
        files.remove(self._replacement.staged(record.id))
        self._journal.note(record, FAILED)
        raise ItemError(
            f"none of {attempts} new images passed, the old one stays: {'; '.join(reasons) or 'tried before'}"
        )

    def waits(self, record: ActionRecord) -> bool:
        """Whether the image of an earlier try is there, whole."""
        path = self._replacement.staged(record.id)
        return record.image is not None and path.is_file() and files.sha256_of(path) == record.image.sha256

    def _draw(self, actor: Actor, action: PlannedAction, record: ActionRecord) -> ActionRecord:
        make = action.make
        seed = _seed_of(action, record.attempts)
        request = ImageRequest(
            key=f"{record.id}/{record.attempts}",
            prompt=make.prompt,
            width=make.width,
            height=make.height,
            steps=make.steps,
            seed=seed,
            facts=judging.facts_of(actor),
        )
        try:
            image = self._image.make(request)
        except Refused as error:
            raise NotGood(f"seed {seed} was refused: {error}") from error
        staged = self._replacement.staged(record.id)
        files.write_bytes(staged, _as_jpeg(image.data, actor.name))
        record = replace(
            record, image=MadeRecord(files.sha256_of(staged), image.model, make.prompt, seed, record.id, now())
        )
        self._journal.note(record, STAGED)
        failpoint("execute.staged")
        return record

    def _look(self, actor: Actor, record: ActionRecord, prompt: str) -> None:
        assert record.image is not None
        picture = pictures.load(self._replacement.staged(record.id))
        assessment = judging.assess(self._vision, actor, picture, prompt)
        if not assessment.good:
            raise NotGood(f"seed {record.image.seed}: {assessment.reason}")
        self._operations.record(
            "make", record.target, action=record.id, seed=record.image.seed, model=record.image.model
        )


def _as_jpeg(data: bytes, name: str) -> bytes:
    """The image as it will be stored; what a backend sent as JPEG stays byte for byte."""
    try:
        picture = pictures.decode(data, f"the new image of {name}")
    except ItemError as error:
        raise NotGood(f"what came back is no image: {error}") from error
    return data if data.startswith(b"\xff\xd8\xff") else pictures.encode_jpeg(picture.image)


def _seed_of(action: PlannedAction, attempt: int) -> int:
    """The plan's seed first, then others that follow from it."""
    if attempt == 0:
        return action.make.seed
    return random.Random(f"{action.make.seed}/{attempt}").randrange(2**31)  # noqa: S311 - to be repeatable
