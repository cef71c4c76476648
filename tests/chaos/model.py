"""A model of what power loss may leave: the operations of a job are recorded while they are carried out, and every state is enumerated.

Names change in order, as a journalling file system commits them: a crash drops some of the last ones, but none that an fsync of its
folder has made durable. Data that was not synced may be whole, torn or lost. Neither strace nor a SIGKILL can show this, since the
page cache outlives both.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from runner.files import TEMPORARY


class Operation(NamedTuple):
    """One change. `name` gives or takes a name, `data` fills a file, `pin` makes a folder durable, `said` is a promise or a journal's entry."""

    kind: str
    path: str = ""
    other: str = ""
    file: int = 0
    data: bytes = b""
    synced: bool = False
    said: Any = None


class State(NamedTuple):
    """What a crash leaves: files by name, and all that was said before it."""

    files: dict[str, bytes]
    said: list[Any]
    after: int


class Recorder:
    """Records what is done to files below `root` while its block runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.operations: list[Operation] = []
        self._files: dict[str, int] = {}
        self._content: dict[int, bytes] = {}
        self._next = itertools.count(1)
        self._patch = pytest.MonkeyPatch()
        for path in sorted(root.rglob("*")):
            if path.is_file():
                self._new(str(path))
                self._note_data(str(path), synced=True)
                self.operations.append(Operation("pin", str(path.parent)))
        self.began = len(self.operations)

    def say(self, what: Any) -> None:
        """Note a promise (what must hold from now on) or an entry of a journal that is durable by itself."""
        self._look()
        self.operations.append(Operation("said", said=what))

    def __enter__(self) -> Self:
        patch = self._patch
        real = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink")}
        real_open = io.open

        def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            handle = real_open(file, mode, *rest, **more)
            if mode[0] in "wxa" and self._inside(str(file)):
                self._look()
                if str(file) not in self._files:
                    self._new(str(file))
                self._note_data(str(file))
            return handle

        def fsync(descriptor: int) -> None:
            real["fsync"](descriptor)
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            if self._inside(path):
                self._look()
                if Path(path).is_dir():
                    self.operations.append(Operation("pin", path))
                else:
                    self._note_data(path, synced=True)

        def renamed(source: Any, target: Any) -> None:
            self._look()
            real["replace"](source, target)
            self._files[str(target)] = self._files.pop(str(source))
            self.operations.append(Operation("name", str(source), str(target)))

        def unlinked(path: Any, *, dir_fd: int | None = None) -> None:
            # shutil.rmtree names a file by its open folder.
            where = str(path if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink() / path)
            self._look()
            real["unlink"](path, dir_fd=dir_fd)
            self._files.pop(where, None)
            self.operations.append(Operation("name", where))

        patch.setattr(io, "open", opened)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "rename", renamed)
        patch.setattr(os, "replace", renamed)
        patch.setattr(os, "unlink", unlinked)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._look()
        self._patch.undo()

    def states(self, first: int = 0) -> Iterator[State]:
        """Every state that a crash may leave after operation `first` or a later one, each once."""
        seen = set()
        for after in range(max(first, self.began), len(self.operations) + 1):
            past = self.operations[:after]
            names = [index for index, operation in enumerate(past) if operation.kind in ("new", "name")]
            durable = self._durable(past, names)
            said = [operation.said for operation in past if operation.kind == "said"]
            for kept in range(durable, len(names) + 1):
                for files in self._filled(past, [past[index] for index in names[:kept]]):
                    state = (len(said), tuple(sorted(files.items())))
                    if state not in seen:
                        seen.add(state)
                        yield State(files, said, after)

    def _durable(self, past: list[Operation], names: list[int]) -> int:
        """How many of the changes of names an fsync holds; since they are kept in order, all before it too."""
        durable = 0
        touched: dict[str, int] = {}
        for index, operation in enumerate(past):
            if operation.kind == "pin":
                durable = max(durable, touched.get(operation.path, 0))
            elif operation.kind in ("new", "name"):
                for path in (operation.path, operation.other):
                    touched[str(Path(path).parent)] = names.index(index) + 1
        return durable

    def _filled(self, past: list[Operation], changes: list[Operation]) -> Iterator[dict[str, bytes]]:
        where: dict[str, int] = {}
        for change in changes:
            if change.kind == "new":
                where[change.path] = change.file
            elif change.other:
                where[change.other] = where.pop(change.path)
            else:
                where.pop(change.path, None)
        visible = {path: file for path, file in where.items() if not Path(path).name.startswith(TEMPORARY)}
        choices = [self._possible(past, file) for file in visible.values()]
        for filled in itertools.product(*choices):
            yield {str(Path(path).relative_to(self.root)): data for path, data in zip(visible, filled, strict=True)}

    def _possible(self, past: list[Operation], file: int) -> list[bytes]:
        last = next(operation for operation in reversed(past) if operation.file == file)
        if last.synced:
            return [last.data]
        return list({b"", last.data[: len(last.data) // 2], last.data})

    def _inside(self, path: str) -> bool:
        return Path(path).is_relative_to(self.root)

    def _new(self, path: str) -> None:
        self._files[path] = next(self._next)
        self.operations.append(Operation("new", path, file=self._files[path]))

    def _note_data(self, path: str, *, synced: bool = False) -> None:
        file, data = self._files[path], Path(path).read_bytes()
        self._content[file] = data
        self.operations.append(Operation("data", path, file=file, data=data, synced=synced))

    def _look(self) -> None:
        """Note what was written since, and not synced."""
        for path, file in self._files.items():
            if Path(path).is_file() and Path(path).read_bytes() != self._content[file]:
                self._note_data(path)


def lay_out(files: dict[str, bytes], root: Path) -> None:
    """Make a folder that holds these files and nothing else."""
    root.mkdir(parents=True)
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
