"""Claims: what two processes want at once is paid for once (rule 4)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.claims import BYTES, Claims
from runner.errors import Interrupted
from runner.stop import Stop

ROOT = Path(__file__).parents[2]
NAME = "0123456789abcdef" * 4
ASKING = """
import sys, threading
from pathlib import Path
from tests.support import Engine, Upper

folder = Path(sys.argv[1])

def pay(word):
    with (folder / "paid").open("a") as file:
        file.write(word + "\\n")
    threading.Event().wait(0.005)

words = [f"word-{number}" for number in range(40)]
step = Upper(words, {word: lambda word=word: pay(word) for word in words})
engine = Engine(folder, workers=4)
sys.stdin.readline()
engine.run(step, sys.argv[2])
assert [outcome.result.text for outcome in step.outcomes] == [word.upper() for word in words]
print(engine.counts)
"""
HOLDING = """
import sys
from pathlib import Path
from runner.claims import Claims
assert Claims.beside(Path(sys.argv[1])).take(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""


def child(program: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_two_processes_with_the_same_items_pay_for_each_once(tmp_path: Path) -> None:
    processes = [child(ASKING, tmp_path, f"run-{number}") for number in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    paid = Counter((tmp_path / "paid").read_text().split())
    assert len(paid) == 40
    assert set(paid.values()) == {1}


def test_a_claim_goes_with_its_process(tmp_path: Path) -> None:
    claims = Claims.beside(tmp_path / "ledger.sqlite")
    process = child(HOLDING, tmp_path / "ledger.sqlite", NAME)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert not claims.take(NAME)
    assert claims.take("f" * 64)
    process.kill()
    process.communicate()
    assert claims.take(NAME)
    claims.close()


def test_threads_of_one_process_contend_too_and_a_second_ledger_drops_no_claim(tmp_path: Path) -> None:
    first, second = (Claims.beside(tmp_path / "ledger.sqlite") for _ in range(2))
    assert first.take(NAME)
    assert not second.take(NAME)
    second.close()
    process = child(HOLDING, tmp_path / "ledger.sqlite", NAME)
    assert "AssertionError" in process.communicate(timeout=60)[0]
    first.release(NAME)
    assert first.take(NAME)
    first.close()


CROSSED = """
import sys
from pathlib import Path
from runner.claims import Claims
from runner.errors import Interrupted
from runner.stop import Stop

path, mine, other = sys.argv[1:]
claims, stop = Claims.beside(Path(path)), Stop()
assert claims.take(mine, inner=True)
print("held", flush=True)
sys.stdin.readline()
print(claims.take(other, inner=True), flush=True)
sys.stdin.readline()
"""


def test_claims_inside_inner_ones_would_wait_for_ever_and_are_refused(tmp_path: Path) -> None:
    # Four names of two bytes: nobody wants what another has, and yet neither gets on.
    first, second, again_first, again_second = (f"{number:08x}" for number in (1, 2, BYTES + 1, BYTES + 2))
    ledger = tmp_path / "ledger.sqlite"
    pairs = ((first, again_second), (second, again_first))
    processes = [child(CROSSED, ledger, mine, other) for mine, other in pairs]
    for answer in ("held\n", "False\n"):
        for process in processes:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == answer
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    claims = Claims.beside(ledger)
    claims.wait_for("0" * 64, Stop())
    claims.wait_for(first, Stop(), inner=True)
    for inner in (True, False):
        with pytest.raises(RuntimeError, match="would wait for this one for ever"):
            claims.wait_for(again_second, Stop(), inner=inner)
    claims.release(first, inner=True)
    claims.wait_for(again_second, Stop(), inner=True)
    claims.close()


def test_each_thread_may_hold_an_inner_claim(tmp_path: Path) -> None:
    claims = Claims.beside(tmp_path / "ledger.sqlite")
    claims.wait_for("1" * 64, Stop(), inner=True)
    with ThreadPoolExecutor(1) as other:
        other.submit(claims.wait_for, "2" * 64, Stop(), inner=True).result(timeout=60)
    assert not claims.take("2" * 64, inner=True)
    claims.close()


def test_who_waits_for_a_claim_leaves_when_the_run_stops(tmp_path: Path) -> None:
    claims = Claims.beside(tmp_path / "ledger.sqlite")
    claims.take(NAME)
    stop = Stop()
    stop.request(Interrupted("ctrl+c"))
    with pytest.raises(Interrupted):
        claims.wait_for(NAME, stop)
    claims.close()
