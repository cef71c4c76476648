"""Items: what is asked, what is remembered, and how each way of ending is kept (rules 3, 4, 8 and 9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import Interrupted, ItemError, MisconfiguredRun, ProviderStopped, Refused, Transient, UserError
from runner.stop import Stop
from tests.support import Acting, Engine, Upper, Word, raising


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def test_results_come_in_the_order_of_items_with_their_types(engine: Engine) -> None:
    step = Upper(["c", "a", "b"])
    engine.run(step)
    assert [outcome.key for outcome in step.outcomes] == ["c", "a", "b"]
    assert step.outcomes[0].result == Word("C")


def test_a_second_run_asks_nothing_and_one_new_item_costs_one_call(engine: Engine) -> None:
    engine.run(Upper(["a", "b"]))
    again = Upper(["a", "new", "b"])
    engine.run(again, "run-2")
    assert again.seen == ["new"]
    assert [outcome.result for outcome in again.outcomes] == [Word("A"), Word("NEW"), Word("B")]
    assert engine.counts == {"remembered": 2, "done": 1}


def test_fresh_asks_again_but_not_twice_in_one_run(engine: Engine) -> None:
    engine.run(Upper(["a", "b"]))
    cut_off = Upper(["a", "b"], {"b": raising(Interrupted("ctrl+c"))})
    engine.workers = 1
    engine.run(cut_off, "run-2", fresh=True)
    resumed = Upper(["a", "b"])
    engine.run(resumed, "run-2", fresh=True)
    assert cut_off.seen == ["a", "b"]
    assert resumed.seen == ["b"]


def test_a_failed_item_stops_no_other_and_is_asked_again_in_the_next_run_only(engine: Engine) -> None:
    broken = {"b": raising(ItemError("no such face"))}
    first = Upper(["a", "b", "c"], broken)
    engine.run(first)
    assert [outcome.error for outcome in first.outcomes] == [None, "no such face", None]
    same_run = Upper(["a", "b", "c"])
    engine.run(same_run)
    assert same_run.seen == []
    assert same_run.outcomes[1].error == "no such face"
    next_run = Upper(["a", "b", "c"])
    engine.run(next_run, "run-2")
    assert next_run.seen == ["b"]


def test_a_refusal_is_an_outcome_of_its_own(engine: Engine) -> None:
    step = Upper(["a", "b"], {"a": raising(Refused("not this one"))})
    engine.run(step)
    assert step.outcomes[0].refused
    assert step.outcomes[0].error == "not this one"
    assert engine.counts == {"refused": 1, "done": 1}


def test_a_fault_in_the_step_fails_its_item_and_names_the_type(engine: Engine) -> None:
    step = Upper(["a", "b"], {"a": raising(KeyError("eyes"))})
    engine.run(step)
    assert step.outcomes[0].error == "KeyError: 'eyes'"
    assert step.outcomes[1].result == Word("B")


@pytest.mark.parametrize("error", [ProviderStopped("quota used up"), MisconfiguredRun("price unknown")])
def test_what_no_call_can_mend_stops_the_run_and_keeps_what_is_done(engine: Engine, error: Exception) -> None:
    engine.workers = 1
    with pytest.raises(type(error), match=str(error)):
        engine.run(Upper(["a", "b", "c", "d"], {"b": raising(error)}))
    assert engine.counts == {"done": 1}
    resumed = Upper(["a", "b", "c", "d"])
    engine.run(resumed)
    assert resumed.seen == ["b", "c", "d"]


def test_a_step_that_raises_transient_itself_is_tried_again(engine: Engine) -> None:
    tries = []

    def flaky() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Transient("busy")

    step = Upper(["a"], {"a": flaky})
    engine.run(step)
    assert len(tries) == 3
    assert step.outcomes[0].result == Word("A")


def test_a_step_with_effects_is_never_skipped_for_what_another_run_did(engine: Engine) -> None:
    engine.run(Acting(["a"]))
    again = Acting(["a"])
    engine.run(again, "run-2")
    assert again.seen == ["a"]
    resumed = Acting(["a"])
    engine.run(resumed, "run-2")
    assert resumed.seen == []


def test_a_step_with_effects_acts_again_when_what_it_depends_on_is_another(engine: Engine) -> None:
    """A plan that was made again at the same path: its actions have the same names."""
    engine.run(Acting(["a"]))
    remade = Acting(["a"], after="another plan")
    engine.run(remade)
    assert remade.seen == ["a"]


def test_two_items_of_one_name_are_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="two items are named 'a'"):
        engine.run(Upper(["a", "b", "a"]))


def test_an_item_that_left_the_library_leaves_the_results(engine: Engine) -> None:
    engine.run(Upper(["a", "b"]))
    fewer = Upper(["b"])
    engine.run(fewer)
    assert [outcome.key for outcome in fewer.outcomes] == ["b"]


def test_a_stopped_run_takes_no_new_items(engine: Engine) -> None:
    stop = Stop()
    engine.workers = 1
    step = Upper([f"word {number}" for number in range(50)], {"word 3": lambda: stop.request(Interrupted("ctrl+c"))})
    with pytest.raises(Interrupted):
        engine.run(step, stop=stop)
    assert step.seen == ["word 0", "word 1", "word 2", "word 3"]
    # The item that was under way came to its end, and is not repeated.
    assert engine.counts == {"done": 4}


def test_another_version_of_a_step_asks_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.run(Upper(["a"]))
    monkeypatch.setattr(Upper, "version", 2)
    again = Upper(["a"])
    engine.run(again, "run-2")
    assert again.seen == ["a"]
