"""The ledger (rule 1): shared by processes, durable where it must be, readable by later versions only forwards."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.ledger import Ledger, LedgerFailed, refuse_network_file_system

ADD = "INSERT INTO spending VALUES (?, 1.0, 1) ON CONFLICT (scope) DO UPDATE SET usd = usd + 1, calls = calls + 1"


def test_what_is_posted_is_there_after_a_flush_and_after_closing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for _ in range(1000):
            ledger.post(ADD, ("a",))
        ledger.flush()
        assert ledger.row("SELECT usd FROM spending WHERE scope = 'a'") == (1000.0,)
        ledger.post(ADD, ("a",))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.row("SELECT calls FROM spending WHERE scope = 'a'") == (1001,)


def test_a_commit_that_raises_leaves_nothing_and_the_ledger_goes_on(tmp_path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute(ADD, ("half",))
        raise ValueError("no")

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(ValueError, match="no"):
            ledger.commit(half)
        ledger.execute("INSERT INTO plans VALUES ('p', 'r', 0)")
        with pytest.raises(sqlite3.IntegrityError):
            ledger.execute("INSERT INTO plans VALUES ('p', 'other', 0)")
        assert ledger.row("SELECT count(*) FROM spending") == (0,)
        ledger.execute(ADD, ("whole",))
        assert ledger.row("SELECT scope FROM spending") == ("whole",)


def test_durable_commits_are_synchronous_full_and_others_are_not(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:

        def mode(connection: sqlite3.Connection) -> int:
            return int(connection.execute("PRAGMA synchronous").fetchone()[0])

        assert ledger.commit(mode, durable=True) == 2
        assert ledger.commit(mode) == 1
        assert ledger.row("PRAGMA journal_mode") == ("wal",)


def test_processes_share_it_without_losing_a_write(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    program = f"""
from pathlib import Path
from runner.ledger import Ledger
with Ledger(Path({str(path)!r})) as ledger:
    for _ in range(200):
        ledger.execute({ADD!r}, ("shared",))
"""
    children = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    with Ledger(path) as ledger:
        assert ledger.row("SELECT calls FROM spending WHERE scope = 'shared'") == (600,)


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.execute("INSERT INTO migrations VALUES ('999_from_the_future.sql', 0)")
    with pytest.raises(UserError, match=r"999_from_the_future\.sql.*update callsheet"):
        Ledger(path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("my notes, not yours" * 100)
    with pytest.raises(UserError, match="move it away, or give ledger=PATH"):
        Ledger(path)
    assert path.read_text() == "my notes, not yours" * 100


def test_once_it_can_not_be_written_nothing_more_is_taken(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.execute("PRAGMA user_version = 1")
        with pytest.raises(LedgerFailed, match="can't be written"):
            ledger.execute("INSERT INTO no_such_table VALUES (1)")
        with pytest.raises(LedgerFailed):
            ledger.post(ADD, ("a",))


def test_network_file_systems_are_refused_with_the_way_out(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    with pytest.raises(UserError, match=r"network file system \(nfs4\).*ledger=PATH"):
        refuse_network_file_system(tmp_path / "ledger.sqlite", mounts)
    mounts.write_text(f"server:/x {tmp_path.parent} nfs4 rw 0 0\n/dev/sda1 {tmp_path} ext4 rw 0 0\n")
    refuse_network_file_system(tmp_path / "ledger.sqlite", mounts)


def test_processes_that_make_it_at_the_same_moment_all_get_it(tmp_path: Path) -> None:
    """SQLite does not wait for the change to WAL, nor for a write that follows a read."""
    program = f"""
import sys
from pathlib import Path
from runner.ledger import Ledger
sys.stdin.readline()
for number in range(20):
    Ledger(Path({str(tmp_path)!r}) / f"{{number}}.sqlite").close()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [(process.returncode, text) for process, text in zip(processes, said, strict=True)] == [(0, "")] * 4
