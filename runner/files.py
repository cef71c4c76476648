"""Every change to a file goes through here: whole or not at all, and durable when the call returns.

The order is restic's and git's: a temporary file beside the target, its length checked, fsync, rename, fsync of the
folder. The one exception is `append_line`, for logs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import reprlib
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from runner.errors import UserError

TEMPORARY = ".tmp-"
MAX_NAME_BYTES = 200
MAX_PATH = 1000
DRIVE = re.compile(r"[A-Za-z]:")
LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS = 10, 0.02
MAX_JSON_BYTES = 512 * 1024 * 1024


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, creating its folders."""
    with _replacing(path, "wb") as file:
        file.write(data)
        _check_length(file, len(data))


def write_text(path: Path, text: str, *, aside: Path | None = None) -> None:
    """Write a whole UTF-8 file, creating its folders.

    Args:
        path: Where to.
        text: What.
        aside: A folder of ours on the same disk for what is not whole yet, where `path` is in a person's folder: a killed write leaves it.
    """
    data = text.encode("utf-8")
    with _replacing(path, "wb", aside) as file:
        file.write(data)
        _check_length(file, len(data))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with a final newline; NaN and infinity are refused, for no other reader takes them."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a surrogate pair, as in a file name that is not UTF-8, becomes JSON's own escape for it.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[str]]:
    """A text file that appears whole when the block ends without an error, for what is too long to hold in memory."""
    with _replacing(path, "w") as file:
        yield file


def read_json(path: Path, *, finite: bool = False) -> Any:
    """Parse a JSON file that people may have edited.

    Args:
        path: The file.
        finite: Refuse numbers like 1e999, which would be infinite and could not be written again.

    Raises:
        UserError: Missing, unreadable, not UTF-8, not JSON, too large, or nested too deep; with the path and the line.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path}: over {MAX_JSON_BYTES // 2**20} MiB, which is no list of actors")
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite if finite else None)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not usable JSON: {error}") from error


def append_line(path: Path, line: str) -> None:
    """Append one line to a log and flush it. A line cut off by a crash is the reader's to skip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        with _naming(path):
            os.write(descriptor, line.rstrip("\n").encode("utf-8", "backslashreplace") + b"\n")
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> bool:
    """Move a file within one file system; nothing is overwritten. Repeating a finished move is harmless.

    Returns:
        True if this call moved it, False if it had been moved before.

    Raises:
        FileExistsError: Both exist, so it can't be told which one is wanted.
        FileNotFoundError: Neither exists.
    """
    if not os.path.lexists(source):
        if os.path.lexists(target):
            # The rename of an earlier try is seen but may not be durable yet.
            sync_folder(target.parent)
            return False
        raise FileNotFoundError(f"{source} is gone, and {target} is not there either")
    if os.path.lexists(target):
        raise FileExistsError(f"{source} is not moved: {target} exists already")
    make_folder(target.parent)
    source.rename(target)
    sync_folder(target.parent)
    sync_folder(source.parent)
    return True


def remove(path: Path) -> None:
    """Delete a file for good; it may be gone already."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Delete a folder of ours for good; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_link(link: Path, target: str, aside: Path | None = None) -> None:
    """Point a symbolic link at `target` (relative to the link) by rename; where links are not to be had, NAME.txt says it.

    It is made in the folder `aside`, one that is swept: what a crash leaves beside the link nobody would remove.
    """
    temporary = (aside or link.parent) / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
        write_text(link.with_name(link.name + ".txt"), target + "\n")


def pointed_at(link: Path) -> str | None:
    """What `point_link` was told last; None where there is no such link."""
    try:
        return str(link.readlink()) if link.is_symlink() else link.with_name(link.name + ".txt").read_text().strip()
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_name(name: object, what: str) -> str:
    """A name from data that is safe as one folder or file name on any system.

    Raises:
        UserError: It is no text, empty, too long, or could lead elsewhere.
    """
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{what}: {name!r} is not a name: give a non-empty text")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise UserError(
            f"{what}: '{name[:40]}...' has {len(name)} characters: at most {MAX_NAME_BYTES} bytes fit a file name"
        )
    leads_away = name in {".", ".."} or "/" in name or "\\" in name or PureWindowsPath(name).drive
    if leads_away:
        raise UserError(f"{what}: {name!r} would leave the library: names are plain folder names")
    if not name.isprintable() or name != name.strip() or name.startswith("."):
        raise UserError(
            f"{what}: {name!r} has characters that no file name should have (control characters, outer spaces or a leading dot)"
        )
    return name


def is_file(path: Path) -> bool:
    """True for a file that is there; False also for a name that no file system takes."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def whole_text(text: str) -> str:
    """The text with a replacement character for each half of a surrogate pair, which no file and no database takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def under(root: Path, relative: object, what: str) -> Path:
    """The path of `relative` below `root`, symbolic links followed.

    Raises:
        UserError: It is absolute, climbs out, or a link leads out.
    """
    if not isinstance(relative, str) or not relative or "\0" in relative or len(relative) > MAX_PATH:
        raise UserError(f"{what}: {reprlib.repr(relative)} is not a path")
    if relative.startswith("/") or ".." in relative.split("/") or "\\" in relative or DRIVE.match(relative):
        raise UserError(f"{what}: {relative!r} would leave {root}: give a path below it")
    path = root / relative
    try:
        if not _holds_link(str(root), relative):
            return path
        real, above = os.path.realpath(path), os.path.realpath(root)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{what}: {relative!r} can't be followed: {error}") from error
    if real != above and not real.startswith(above.rstrip(os.sep) + os.sep):
        raise UserError(f"{what}: {relative!r} leaves {root} by a symbolic link")
    return path


def _holds_link(root: str, relative: str) -> bool:
    """Whether a part of the path below `root` is a symbolic link: only then it may lead out, and is followed from the top."""
    path = root
    for part in relative.split("/"):
        path = f"{path}{os.sep}{part}"
        if os.path.islink(path):  # noqa: PTH114 - called for every file of a library
            return True
    return False


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold an exclusive lock (flock) on a file while the block runs; it goes when the process dies.

    Raises:
        UserError: Somebody else holds it; `busy` says what that means.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise UserError(busy) from error
                # Perhaps only somebody who looks whether it is held.
                time.sleep(LOCK_PAUSE_SECONDS)
        yield


def is_locked(path: Path) -> bool:
    """True while somebody holds the lock of `locked` on this file; it is not made where it is missing."""
    try:
        with path.open("rb") as file:
            # Shared, so that two who look don't see each other.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sweep_temporaries(folder: Path, *, deep: bool = True) -> None:
    """Remove what a killed write left in a folder of ours, and unless told otherwise in those below it."""
    for path in folder.rglob(f"{TEMPORARY}*") if deep else folder.glob(f"{TEMPORARY}*"):
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _replacing(path: Path, mode: str, aside: Path | None = None) -> Iterator[IO[Any]]:
    make_folder(path.parent)
    if aside is not None:
        make_folder(aside)
    temporary = (aside or path.parent) / f"{TEMPORARY}{secrets.token_hex(8)}"
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    try:
        with _naming(path), temporary.open(mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _naming(path):
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error say which file it is about: that of a write or an fsync does not, and that of a temporary file names nothing known."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def _check_length(file: IO[bytes], expected: int) -> None:
    file.flush()
    written = os.fstat(file.fileno()).st_size
    if written != expected:
        raise OSError(f"{file.name}: {written} of {expected} bytes written")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is more than a number can hold")
    return number


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
