"""The command line as a user meets it: every recipe run, every command, every exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runner import files
from runner.recipe import all_recipes
from tests.e2e.stage import ABSENT, BLURRED, GOOD, Stage
from tests.library import tree

SMALL = ("steps.plan.width=256", "steps.plan.height=384")
HEAVY = ("torch", "diffusers", "transformers", "openai", "boto3", "replicate", "insightface", "ray")


def plan_of(stage: Stage) -> str:
    return str((stage.root / "outputs/validate_base_images/latest/plan/action_plan.json").resolve())


def test_the_documents_two_steps(stage: Stage) -> None:
    """Dry run, look at the plan, preview, execute, undo."""
    before = tree(stage.data)
    assert stage.run("run", "validate_base_images", *SMALL).code == 0
    assert tree(stage.data) == before
    plan = plan_of(stage)
    assert {row["actor_name"]: row["action"] for row in json.loads(Path(plan).read_text())["actions"]} == {
        BLURRED: "recreate_blurry",
        ABSENT: "create_base_image",
    }
    assert stage.run("run", "execute_plan", f"plan={plan}").code == 0
    assert tree(stage.data) == before
    assert stage.run("run", "execute_plan", f"plan={plan}", "execute=true").code == 0
    assert (stage.data / f"actors/{ABSENT}/base_image/{ABSENT}_base.jpg").is_file()
    assert not list((stage.data / f"actors/{BLURRED}/training_data").iterdir())
    told = stage.run("undo", "execute_plan")
    assert "2 of 2 actions undone" in told.text
    assert {path: digest for path, digest in tree(stage.data).items() if not path.startswith(".callsheet/")} == before
    assert "undone" in stage.run("status").text


def test_repair_in_one_go_and_again_finds_nothing_to_do(stage: Stage) -> None:
    assert stage.run("run", "repair_base_images", *SMALL, "execute=true").code == 0
    assert stage.latest("repair_base_images", "execute/executed.json")["dry_run"] is False
    assert stage.run("run", "repair_base_images", *SMALL, "execute=true").code == 0
    assert stage.latest("repair_base_images", "plan/action_plan.json")["actions"] == []
    assert stage.latest("repair_base_images", "validate/results.json")["summary"]["skipped"] == 3


def test_a_second_validation_remembers_every_answer(stage: Stage) -> None:
    stage.run("run", "validate_base_images")
    assert "validate: 3 of 3 done, 3 remembered" in stage.run("run", "validate_base_images").text
    assert "remembered" not in stage.run("run", "validate_base_images", "fresh=true").text


def test_reset_forgets_answers_and_keeps_the_trash(stage: Stage) -> None:
    stage.run("run", "repair_base_images", *SMALL, "execute=true")
    trash = tree(stage.data / ".callsheet" / "trash")
    assert "answers forgotten" in stage.run("reset", "repair_base_images").text
    assert tree(stage.data / ".callsheet" / "trash") == trash
    assert "remembered" not in stage.run("run", "validate_base_images").text


def test_reset_finds_a_runs_answers_in_a_renamed_project_and_with_a_ledger_elsewhere(stage: Stage) -> None:
    stage.run("run", "validate_base_images", "ledger=mine.sqlite")
    (stage.root / "outputs").rename(stage.root / "real")
    (stage.root / "outputs").symlink_to("real")
    assert "5 answers forgotten" in stage.run("reset", "validate_base_images").text


def test_reset_refuses_a_run_that_left_an_action_half_done(stage: Stage) -> None:
    stage.run("run", "validate_base_images")
    run = stage.latest("validate_base_images", "run.json")["id"]
    with contextlib.closing(sqlite3.connect(stage.root / "outputs/ledger.sqlite")) as ledger, ledger:
        ledger.execute("INSERT INTO actions VALUES ('a', 'p', ?, 'moving', '{}', 0)", (run,))
    told = stage.run("reset", "validate_base_images")
    assert told.code == 2
    assert "half done: give its command again" in told.text
    assert stage.latest("validate_base_images", "run.json")["state"] == "done"


def test_status_counts_items_and_shows_overrides(stage: Stage) -> None:
    assert "no runs below outputs" in stage.run("status").text
    stage.run("run", "validate_base_images", "steps.validate.votes=2")
    row = next(line for line in stage.run("status").text.splitlines() if line.startswith("validate_base_images/"))
    assert row.split()[1:6] == ["done", "5", "0", "0", "$0.0000"]
    assert "steps.validate.votes=2" in row


def status_rows(stage: Stage) -> dict[str, list[str]]:
    lines = [line.split() for line in stage.run("status").text.splitlines()[1:]]
    return {" ".join(words[:2]) if words[0] == "job" else words[0].partition("/")[0]: words for words in lines}


def test_status_tells_a_killed_run_from_one_at_work(stage: Stage) -> None:
    stage.run("run", "validate_base_images", "ledger=mine.sqlite")
    run = (stage.root / "outputs/validate_base_images/latest").resolve()
    (run / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()) | {"state": "running"}))
    # Its items are counted in the ledger that it used.
    assert status_rows(stage)["validate_base_images"][1:4] == ["killed", "5", "0"]
    with files.locked(run / "run.lock", "busy"):
        assert status_rows(stage)["validate_base_images"][1] == "running"


def test_status_counts_the_jobs_of_a_sweep(stage: Stage) -> None:
    stage.run("run", "-m", "validate_base_images", "steps.validate.votes=1,2,3")
    sweep = (stage.root / "outputs/validate_base_images/latest").resolve()
    (sweep / "jobs/2/run.json").unlink()
    (sweep / "jobs/2/job.json").unlink()
    about = json.loads((sweep / "jobs/1/run.json").read_text())
    (sweep / "jobs/1/run.json").write_text(json.dumps(about | {"state": "failed"}))
    (sweep / "sweep.json").write_text(
        json.dumps(json.loads((sweep / "sweep.json").read_text()) | {"cost": {"usd": 1.5, "calls": 9}})
    )
    row = status_rows(stage)["validate_base_images"]
    assert row[1:] == ["done", "2", "jobs", "1", "jobs", "1", "jobs", "$1.5000", "steps.validate.votes=1,2,3"]


@pytest.mark.parametrize("path", sorted(all_recipes()), ids=lambda path: path.stem)
def test_every_recipe_is_shown_whole_also_one_that_must_be_given_something(stage: Stage, path: Path) -> None:
    told = stage.run("recipes", path.stem)
    assert told.code == 0, told.text
    assert "Every recipe has:" in told.text


def test_recipes_are_listed_with_their_first_line_and_parameters(stage: Stage) -> None:
    told = stage.run("recipes").text
    for path in all_recipes():
        assert path.stem in told
        assert path.read_text().splitlines()[0].removeprefix("# ") in told
    assert "actors, sample, protect" in told
    one = stage.run("recipes", "validate_base_images").text
    assert "steps.validate (validate): Judge each actor's base image" in one
    assert "  votes: 1  # how many assessments must agree" in one
    assert "  budget.usd: null  # US dollars" in one
    assert "vision (embedded): Judges clarity" in one


def test_doctor_says_what_is_there_and_what_is_missing(stage: Stage) -> None:
    told = stage.run("doctor", "validate_base_images")
    assert told.code == 0
    assert "vision=embedded: needs no key and no model" in told.text
    told = stage.run("doctor", "validate_base_images", "data=nowhere", "~steps.plan")
    assert told.code == 2
    assert "MISSING  library nowhere" in told.text
    assert "callsheet sample DIR" in told.text
    assert "image=" not in told.text


def test_some_failed_is_exit_1_and_the_others_are_done(stage: Stage) -> None:
    (stage.data / f"actors/{GOOD}/base_image/{GOOD}_base.jpg").write_bytes(b"8BPS not ours")
    told = stage.run("run", "validate_base_images")
    assert told.code == 1
    assert f"{GOOD} failed: {GOOD}_base.jpg is not a PNG, JPEG or WebP image" in told.text
    results = stage.latest("validate_base_images", "validate/results.json")
    assert results["summary"]["errors"] == 1
    assert results["summary"]["recreated_blurry"] == 1


def test_the_budget_is_exit_3_and_a_larger_one_goes_on_in_the_same_run(stage: Stage) -> None:
    told = stage.run("run", "validate_base_images", "budget.calls=1", "workers=1")
    assert told.code == 3
    assert "Budget reached: 1 of 1 calls made" in told.text
    assert (
        "Go on with a larger budget, otherwise: callsheet run validate_base_images budget.calls=1 workers=1"
        in told.text
    )
    told = stage.run("run", "validate_base_images", "budget.calls=9")
    assert told.code == 0
    assert "going on with" in told.text
    assert "validate 1 of 3 done, 2 left" in told.text


def test_a_mistyped_command_leaves_nothing_and_latest_where_it_was(stage: Stage) -> None:
    stage.run("run", "validate_base_images")
    latest = (stage.root / "outputs/validate_base_images/latest").resolve()
    told = stage.run("run", "validate_base_images", "actors=@nobody")
    assert told.code == 2
    assert (stage.root / "outputs/validate_base_images/latest").resolve() == latest
    assert [
        path
        for path in (stage.root / "outputs/validate_base_images").iterdir()
        if path.is_dir() and not path.is_symlink()
    ] == [latest]


def test_the_log_tells_when_each_step_began_and_ended(stage: Stage) -> None:
    stage.run("run", "validate_base_images")
    log = (stage.root / "outputs/validate_base_images/latest/log.txt").read_text()
    assert "INFO validate: begins, 3 items" in log
    assert "INFO plan: done, 2 done, 0 failed" in log


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            ("steps.validate.vote=3",),
            "did you mean steps.validate.votes? Keys of steps.validate are actors, sample, votes",
        ),
        (("actors_=1",), "did you mean actors?"),
        (("+steps.validate.nope=1",), "steps.validate.nope is no parameter: choose from accept_low_confidence, actors"),
        (("budget=3",), "budget: "),
        (("--resume",), "--resume: the same command goes on by itself"),
        (("--dry-run",), "nothing changes without execute=true"),
        (("vision=nobody",), "Available options in 'vision':"),
        (
            ("data=nowhere",),
            "nowhere/actorsData.json: no such file: give data=FOLDER, or draw a library with `callsheet sample DIR`",
        ),
    ],
)
def test_a_mistake_is_told_with_the_way_out(stage: Stage, words: tuple[str, ...], hint: str) -> None:
    told = stage.run("run", "validate_base_images", *words)
    assert told.code == 2
    assert hint in told.text
    assert "object_type" not in told.text
    assert "search path" not in told.text


def test_a_parameter_that_is_handed_on_may_be_overridden_where_it_arrives(stage: Stage) -> None:
    assert "1 actor looked at" in stage.run("run", "validate_base_images", "steps.validate.sample=1").text


def test_a_plan_that_is_not_given_is_asked_for(stage: Stage) -> None:
    assert "plan has no value: give plan=..." in stage.run("run", "execute_plan").text
    assert "needs a list in brackets" in stage.run("run", "execute_plan", "plan=x", "actions=create_base_image").text
    stage.write("old.json", json.dumps({"generated_at": "", "actions": []}))
    assert "made by the old script" in stage.run("run", "execute_plan", "plan=old.json").text


def test_undo_of_a_recipe_finds_the_run_that_acted_behind_a_preview(stage: Stage) -> None:
    before = tree(stage.data)
    stage.run("run", "repair_base_images", *SMALL, "execute=true")
    acted = (stage.root / "outputs/repair_base_images/latest").resolve()
    stage.run("run", "repair_base_images", *SMALL)
    told = stage.run("undo", "repair_base_images")
    assert told.code == 0
    assert f"{acted.name}: 2 of 2 actions undone" in told.text
    assert {path: digest for path, digest in tree(stage.data).items() if not path.startswith(".callsheet/")} == before
    told = stage.run("undo", "repair_base_images")
    assert told.code == 2
    assert "changed nothing that is not undone already" in told.text


def test_undo_given_twice_leaves_older_runs_alone(stage: Stage) -> None:
    words = ("run", "repair_base_images", *SMALL, "execute=true")
    stage.run(*words, f"actors={ABSENT}")
    stage.run(*words, f"actors={BLURRED}")
    assert stage.run("undo", "repair_base_images").code == 0
    assert stage.run("undo", "repair_base_images").code == 2
    assert (stage.data / f"actors/{ABSENT}/base_image/{ABSENT}_base.jpg").is_file()


def test_a_run_that_is_taken_back_in_part_does_not_go_on(stage: Stage) -> None:
    stage.run("run", "repair_base_images", *SMALL, "execute=true")
    (stage.data / f"actors/{ABSENT}/base_image/{ABSENT}_base.jpg").write_bytes(b"another")
    told = stage.run("undo", "repair_base_images")
    assert told.code == 1
    assert "1 of 2 actions undone" in told.text
    assert stage.latest("repair_base_images", "run.json")["state"] == "undone"


def test_undo_uses_the_ledger_and_the_outputs_of_the_run(stage: Stage) -> None:
    before = tree(stage.data)
    stage.run("run", "repair_base_images", *SMALL, "execute=true", "ledger=mine.sqlite", "outputs=elsewhere")
    headline = json.loads((stage.root / "elsewhere/repair_base_images/latest/execute/report.json").read_text())[
        "headline"
    ]
    command = headline.partition("callsheet undo ")[2]
    assert "2 of 2 actions undone" in stage.run("undo", command).text
    assert {path: digest for path, digest in tree(stage.data).items() if not path.startswith(".callsheet/")} == before


def test_quiet_prints_one_line(stage: Stage) -> None:
    assert stage.run("run", "validate_base_images", "--quiet").text.count("\n") == 1


def test_cfg_and_info_are_hydras_own_and_run_nothing(stage: Stage) -> None:
    assert "votes: 4" in stage.run("run", "validate_base_images", "steps.validate.votes=4", "--cfg", "job").text
    assert "steps/validate" in stage.run("run", "validate_base_images", "--info", "defaults").text
    assert not (stage.root / "outputs").exists()


def test_help_imports_nothing_heavy() -> None:
    program = f"import sys; from runner.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_runner_is_the_same_command(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runner", "recipes"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == stage.run("recipes").text


@pytest.fixture
def started(stage: Stage) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are gone after the test, whatever became of it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def start(started: list[subprocess.Popen[str]], words: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "runner", "run", *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    started.append(process)
    return process


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_cleanly_and_the_same_command_goes_on(
    stage: Stage, started: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    words = ["validate_base_images", "vision.delay_s=1000", "workers=1"]
    process = start(started, words)
    wait_for(process, "run outputs/")
    process.send_signal(number)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "Progress saved. Go on with: callsheet run validate_base_images vision.delay_s=1000 workers=1" in text
    assert "interrupted" in stage.run("status").text


def test_the_second_signal_is_out_at_once(stage: Stage, started: list[subprocess.Popen[str]]) -> None:
    """A step that never looks at the stop holds the grace; the second Ctrl+C does not wait for it."""
    plugin(stage.root / "plugin", "import time\n" + STUBBORN)
    os.environ["PYTHONPATH"] = str(stage.root / "plugin")
    try:
        stage.write("stubborn.yaml", "# Wait.\ndefaults: [base, steps@steps.wait: stubborn, _self_]\ngrace_s: 1000\n")
        process = start(started, ["stubborn.yaml"])
        wait_for(process, "run outputs/")
        while not (stage.root / "busy").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        wait_for(process, "once more to leave at once")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        del os.environ["PYTHONPATH"]


def test_what_outlasts_the_grace_ends_with_the_process_before_any_lock_is_let_go(
    stage: Stage, started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(stage.root / "plugin", "import time\n" + STUBBORN)
    monkeypatch.setenv("PYTHONPATH", str(stage.root / "plugin"), prepend=os.pathsep)
    stage.write("stubborn.yaml", "# Wait.\ndefaults: [base, steps@steps.wait: stubborn, _self_]\ngrace_s: 0\n")
    process = start(started, ["stubborn.yaml"])
    wait_for(process, "run outputs/")
    while not (stage.root / "busy").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=30)[0]
    assert process.returncode == 130
    assert "Progress saved" in text
    assert stage.latest("stubborn", "run.json")["state"] == "interrupted"
    assert not (stage.root / "closed").exists()


@pytest.mark.parametrize(
    "launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")], ids=["basic", "joblib"]
)
def test_an_interrupted_sweep_ends_without_a_traceback_where_jobs_outlast_the_grace(
    stage: Stage, started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, launcher: tuple[str, ...]
) -> None:
    plugin(stage.root / "plugin", "import time\n" + STUBBORN)
    monkeypatch.setenv("PYTHONPATH", str(stage.root / "plugin"), prepend=os.pathsep)
    stage.write("stubborn.yaml", "# Wait.\ndefaults: [base, steps@steps.wait: stubborn, _self_]\ngrace_s: 0\n")
    process = start(started, ["stubborn.yaml", "-m", "seed=1,2", *launcher])
    while not (stage.root / "busy").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=30)[0]
    assert process.returncode == 130, text
    assert "Progress saved. Go on with: callsheet run stubborn.yaml -m" in text
    assert "Traceback" not in text
    assert stage.latest("stubborn", "sweep.json")["state"] == "interrupted"


STUBBORN = '''
from dataclasses import dataclass
from pathlib import Path
from runner.step import Item

@dataclass(frozen=True)
class Params:
    """None."""

class Stubborn:
    version = 1
    reuses_answers = True
    def __init__(self, params: Params, context): pass
    def items(self): return [Item("one", 1)]
    def process(self, value) -> int:
        Path("busy").touch()
        time.sleep(1000)
        return value
    def finish(self, results): pass
    def close(self): Path("closed").touch()
'''


def plugin(folder: Path, source: str) -> None:
    """Another package that brings a step, as pip would install it."""
    about = folder / "stubborn-1.dist-info"
    about.mkdir(parents=True)
    (folder / "stubborn.py").write_text(source)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[callsheet.steps]\nstubborn = stubborn:Stubborn\n")
