"""What a step is, and what it gets. A step knows nothing of threads, retries, vendors or half-written files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from runner.artifacts import Artifacts
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from runner.operations import Operations
from runner.stop import Stop

S = TypeVar("S")
V = TypeVar("V")
R = TypeVar("R")
Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True)
class Item(Generic[V]):
    """One unit of work.

    Attributes:
        key: Names it within its step, for people and for the ledger.
        value: What `process` gets.
        depends_on: All that the result depends on beside the step's version: files (as `Path`, hashed by content), plain values,
            dataclasses. Another content of any of it asks again.
    """

    key: str
    value: V
    depends_on: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Listed(Generic[S, V]):
    """Items made as the engine comes to them, so that the first begins at once; how many there are is known."""

    sources: Sequence[S]
    make: Callable[[S], Item[V]]

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Item[V]]:
        return map(self.make, self.sources)


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """How one item ended: with a result, or with the error that a person reads."""

    key: str
    result: R | None
    error: str | None
    refused: bool = False
    usd: float = 0.0


class Results(Protocol[R]):
    """The outcomes of a step in the order of its items; may be walked more than once, and is never held in memory whole."""

    def __iter__(self) -> Iterator[Outcome[R]]:
        """One outcome after the other."""
        ...


def _tell_nobody(item: str, done: int, total: int, extra: str) -> None:
    """Where nobody watches."""


@dataclass(frozen=True)
class StepContext:
    """What the runner gives a step.

    Attributes:
        label: The step's name in the recipe.
        run: Names this run (its folder).
        out: The step's own folder, empty at first; `finish` writes here.
        data: The library's root.
        seed: The recipe's seed.
        execute: True when steps with effects on the library may act.
        fresh: True when what earlier runs have made is to be made anew.
        stop: Long work inside one item asks it, and waits with it.
        artifacts: Where files are made that other steps and runs use.
        progress: How far a long item is: its key, how much is done, of how much, and what else a person wants to see.
    """

    label: str
    run: str
    out: Path
    data: Path
    seed: int
    execute: bool
    ledger: Ledger
    hashes: FileHashes
    operations: Operations
    stop: Stop
    artifacts: Artifacts
    progress: Callable[[str, int, int, str], None] = _tell_nobody
    fresh: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("callsheet"))


class Step(Protocol[V, R]):
    """One kind of work on many items.

    The constructor takes `params` (its parameter dataclass), `context` (`StepContext`) and, by the name of their Hydra group, the
    backends that it needs: `def __init__(self, params: ValidateParams, context: StepContext, vision: Vision)`. `process` names
    its result type, a dataclass that pydantic can write as JSON and read back.
    """

    version: ClassVar[int]
    """Raise it when the same inputs should give another result."""
    reuses_answers: ClassVar[bool]
    """True when what an earlier run found out may stand for this one. False for a step that changes something outside outputs/, and
    for one that must look at the present."""

    def items(self) -> Iterable[Item[V]]:
        """The items. With a length (a list) progress can say how many are left."""
        ...

    def process(self, value: V, /) -> R:
        """Do one item; runs beside others. Raises ItemError (or a kind of it) when this item fails."""
        ...

    def finish(self, results: Results[R], /) -> None:
        """Write the step's files from the outcomes of all its items.

        A step may also have `gate() -> str | None`: asked after this, it says what a run is to exit 4 for (a library out of balance), or
        None. And `close() -> None`: called however the step ended, to put down what it holds.
        """
        ...
