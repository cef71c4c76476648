"""Plans that are broken, stale, of elsewhere or made to harm: exit 2 or one failed item, and the library stays as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.library import layout
from tests.e2e.stage import ABSENT, BLURRED, GOOD, Stage, assert_told, snapshot

Plan = dict[str, Any]
EXECUTE = ("run", "execute_plan", "plan=plan.json")
HASH = "0" * 64


@pytest.fixture(scope="module")
def made(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan of the tiny library: one image to make, one to replace. Each test gives it its own library's id."""
    from runner.cli import main

    folder = tmp_path_factory.mktemp("planned")
    words = [f"data={drawn / 'data'}", f"outputs={folder}", "steps.plan.width=128", "steps.plan.height=192"]
    assert main(["run", "validate_base_images", *words]) == 0
    plan: Plan = json.loads((folder / "validate_base_images/latest/plan/action_plan.json").read_text("utf-8"))
    assert [row["actor_name"] for row in plan["actions"]] == [BLURRED, ABSENT]
    return plan


@pytest.fixture
def plan(stage: Stage, made: Plan) -> Plan:
    from steps.library.plans import library_id

    copy: Plan = json.loads(json.dumps(made))
    copy["library"] = {"id": library_id(stage.data), "path": str(stage.data)}
    return copy


def give(stage: Stage, plan: Any) -> None:
    stage.write("plan.json", json.dumps(plan))


def test_the_plan_works_as_it_was_made(stage: Stage, plan: Plan) -> None:
    """Or the refusals below would prove nothing."""
    give(stage, plan)
    before = snapshot(stage.root)
    assert_told(stage.run(*EXECUTE), 0, ("done",))
    assert snapshot(stage.root) == before
    assert_told(stage.run(*EXECUTE, "execute=true"), 0, ("done",))
    assert layout.base_image(stage.data, ABSENT).is_file()
    after = snapshot(stage.root)
    assert_told(stage.run(*EXECUTE, "execute=true", "fresh=true"), 2, ("plan.json", "carried out before"))
    assert snapshot(stage.root) == after


@pytest.mark.parametrize(("content", "naming"), [
    (b"", ("not JSON",)),
    (b"{", ("not JSON",)),
    (b"\xff{}", ("not UTF-8",)),
    (b"[]", (", /:", "object")),
    (b"{}", (", /:", "plan_id")),
    (b'{"plan_id": NaN}', ("NaN",)),
    (b"[" * 100_000, ("not usable JSON",)),
], ids=["empty", "cut-off", "not-utf8", "list", "nothing", "nan", "nested-100000"])  # fmt: skip
@pytest.mark.parametrize("act", ["execute=false", "execute=true"])
def test_a_file_that_is_no_plan_is_refused(stage: Stage, content: bytes, naming: tuple[str, ...], act: str) -> None:
    stage.write("plan.json", content)
    stage.refuses(*EXECUTE, act, naming=("plan.json", *naming))


@pytest.mark.parametrize("path", ["nowhere.json", "data", "/dev/null", "x" * 300, "data/actorsData.json/x"])
def test_a_plan_that_is_not_there_is_told(stage: Stage, path: str) -> None:
    stage.refuses("run", "execute_plan", f"plan={path}", "execute=true", naming=(path,))


def row(change: Callable[[dict[str, Any]], Any]) -> Callable[[Plan], Any]:
    """A change of the first action, which is to replace an image."""
    return lambda plan: change(plan["actions"][0])


def leading(path: str) -> Callable[[Plan], Any]:
    return row(lambda action: action["files"].append({"path": path, "sha256": HASH, "size": 1}))


BAD: list[tuple[str, Callable[[Plan], Any], tuple[str, ...]]] = [
    ("newer", lambda plan: plan.update(version=2), ("/version", "1")),
    ("no-version", lambda plan: plan.pop("version"), ("version",)),
    ("no-actions", lambda plan: plan.pop("actions"), ("actions",)),
    ("no-library", lambda plan: plan.pop("library"), ("library",)),
    ("other-library", lambda plan: plan["library"].update(id="0" * 16), ("was made for the library", "make a new plan")),
    ("plan-id-path", lambda plan: plan.update(plan_id="../../x"), ("/plan_id",)),
    ("plan-id-newline", lambda plan: plan.update(plan_id="0" * 32 + "\n"), ("/plan_id",)),
    ("actions-mapping", lambda plan: plan.update(actions={}), ("/actions",)),
    ("action-word", lambda plan: plan["actions"].append("x"), ("/actions/2",)),
    ("action-twice", lambda plan: plan["actions"].append(plan["actions"][0]), ("/actions/2", "/actions/0 already")),
    ("action-twice-by-case", lambda plan: plan["actions"].append({**plan["actions"][1], "actor_name": ABSENT.upper()}),
        ("/actions/2", "/actions/1 already")),
    ("no-name", row(lambda action: action.pop("actor_name")), ("/actions/0", "actor_name")),
    ("name-up", row(lambda action: action.update(actor_name="../../x", files=[])), ("/actions/0/actor_name", "../../x")),
    ("name-absolute", row(lambda action: action.update(actor_name="/etc", files=[])), ("/actions/0/actor_name", "/etc")),
    ("name-nul", row(lambda action: action.update(actor_name="a\0b", files=[])), ("/actions/0/actor_name",)),
    ("name-long", row(lambda action: action.update(actor_name="x" * 300, files=[])), ("/actions/0/actor_name",)),
    ("name-a-number", row(lambda action: action.update(actor_name=5)), ("/actions/0/actor_name",)),
    ("unknown-action", row(lambda action: action.update(action="delete_everything")), ("/actions/0/action", "delete_everything")),
    ("unknown-key", row(lambda action: action.update(shell="touch canary")), ("/actions/0", "shell")),
    ("already-done", row(lambda action: action.update(success=True)), ("/actions/0/success",)),
    ("width", row(lambda action: action["make"].update(width=10**9)), ("/actions/0/make/width", "4096")),
    ("width-true", row(lambda action: action["make"].update(width=True)), ("/actions/0/make/width",)),
    ("height", row(lambda action: action["make"].update(height=-1)), ("/actions/0/make/height",)),
    ("steps", row(lambda action: action["make"].update(steps=10**6)), ("/actions/0/make/steps", "200")),
    ("seed", row(lambda action: action["make"].update(seed=2**31)), ("/actions/0/make/seed",)),
    ("seed-drawn-later", row(lambda action: action["make"].update(seed=-1)), ("/actions/0/make/seed",)),
    ("prompt-mapping", row(lambda action: action["make"].update(prompt={"_target_": "os.mkdir"})), ("/actions/0/make/prompt",)),
    ("prompt-empty", row(lambda action: action["make"].update(prompt="")), ("/actions/0/make/prompt",)),
    ("prompt-long", row(lambda action: action["make"].update(prompt="x" * 30_000)), ("/actions/0/make/prompt",)),
    ("make-null", row(lambda action: action.update(make=None)), ("/actions/0/make",)),
    ("file-word", row(lambda action: action["files"].append("x")), ("/actions/0/files/",)),
    ("file-hash", row(lambda action: action["files"][0].update(sha256="x")), ("/actions/0/files/0/sha256",)),
    ("file-size", row(lambda action: action["files"][0].update(size=-1)), ("/actions/0/files/0/size",)),
    ("file-twice", row(lambda action: action["files"].append(action["files"][0])), ("/actions/0/files/", "already")),
    ("file-up", leading(f"actors/{BLURRED}/../../../truth.json"), ("/actions/0/files/", "own actor's files only")),
    ("file-absolute", leading("/etc/passwd"), ("/actions/0/files/", "/etc/passwd")),
    ("file-of-another", leading(f"actors/{GOOD}/base_image/{GOOD}_base.jpg"), ("/actions/0/files/", "own actor's files only")),
    ("file-of-the-list", leading("actorsData.json"), ("/actions/0/files/", "actorsData.json")),
    ("file-by-dots", leading(f"actors/{BLURRED}/./../{GOOD}/x"), ("/actions/0/files/",)),
    ("file-nul", leading(f"actors/{BLURRED}/a\0b"), ("/actions/0/files/",)),
    ("file-the-folder", leading(f"actors/{BLURRED}/"), ("/actions/0/files/",)),
    ("file-by-double-slash", leading(f"actors/{BLURRED}//etc/passwd"), ("/actions/0/files/",)),
    ("file-long", leading(f"actors/{BLURRED}/{'x' * 5000}"), ("/actions/0/files/",)),
    ("keys-mapping", row(lambda action: action.update(keys={})), ("/actions/0/keys",)),
    ("judged-up", row(lambda action: action.update(judged={"path": "../x"})), ("/actions/0/judged",)),
]  # fmt: skip


@pytest.mark.parametrize(("change", "naming"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_plan_with_a_bad_row_is_refused_whole(
    stage: Stage, plan: Plan, change: Callable[[Plan], Any], naming: tuple[str, ...]
) -> None:
    change(plan)
    give(stage, plan)
    stage.refuses(*EXECUTE, "execute=true", "force=true", naming=("plan.json", *naming))
    assert not (stage.data / layout.OWN / "trash").exists()


def only(name: str) -> Callable[[Plan], None]:
    def keep(plan: Plan) -> None:
        plan["actions"] = [action for action in plan["actions"] if action["actor_name"] == name]

    return keep


def training_elsewhere(stage: Stage) -> None:
    folder = layout.training_folder(stage.data, BLURRED)
    shutil.move(folder, stage.root / "elsewhere")
    folder.symlink_to(stage.root / "elsewhere")


def one_a_link(stage: Stage) -> None:
    path = layout.base_image(stage.data, BLURRED)
    path.rename(stage.root / "original.jpg")
    path.symlink_to(stage.root / "original.jpg")


STALE: list[tuple[str, Callable[[Stage], Any], tuple[str, ...]]] = [
    ("image-changed", lambda stage: stage.write(f"data/actors/{BLURRED}/base_image/{BLURRED}_base.jpg", b"new"),
        (f"{BLURRED}_base.jpg", "has changed")),
    ("training-changed", lambda stage: stage.write(f"data/actors/{BLURRED}/training_data/{BLURRED}_1.jpg", b"new"),
        (f"{BLURRED}_1.jpg", "has changed")),
    ("image-gone", lambda stage: layout.base_image(stage.data, BLURRED).unlink(), (f"{BLURRED}_base.jpg", "gone")),
    ("image-a-link", one_a_link, (BLURRED, "symbolic link")),
    ("training-a-link", training_elsewhere, (BLURRED, "symbolic link")),
    ("actor-gone", lambda stage: stage.write_actors([]), (BLURRED, "not in actorsData.json")),
]  # fmt: skip


def test_a_backslash_in_a_path_fails_the_action(stage: Stage, plan: Plan) -> None:
    only(BLURRED)(plan)
    leading(f"actors/{BLURRED}/..\\..\\x")(plan)
    give(stage, plan)
    stage.refuses(*EXECUTE, "execute=true", "force=true", code=1, naming=("plan.json", BLURRED, "would leave"))


@pytest.mark.parametrize("act", ["execute=false", "execute=true"])
@pytest.mark.parametrize(("change", "naming"), [case[1:] for case in STALE], ids=[case[0] for case in STALE])
def test_an_action_that_is_stale_fails_and_touches_nothing(
    stage: Stage, plan: Plan, change: Callable[[Stage], Any], naming: tuple[str, ...], act: str
) -> None:
    only(BLURRED)(plan)
    give(stage, plan)
    change(stage)
    stage.refuses(*EXECUTE, act, "force=true", code=1, naming=naming)


def test_an_image_that_has_appeared_is_not_overwritten(stage: Stage, plan: Plan) -> None:
    only(ABSENT)(plan)
    give(stage, plan)
    stage.write(f"data/actors/{ABSENT}/base_image/{ABSENT}_base.jpg", b"drawn by hand")
    stage.refuses(*EXECUTE, "execute=true", code=1, naming=(f"{ABSENT}_base.jpg", "appeared"))


def test_a_folder_that_leads_out_gets_no_image(stage: Stage, plan: Plan) -> None:
    only(ABSENT)(plan)
    give(stage, plan)
    (stage.root / "elsewhere").mkdir()
    (stage.data / "actors" / ABSENT).symlink_to(stage.root / "elsewhere")
    stage.refuses(*EXECUTE, "execute=true", code=1, naming=(ABSENT, "symbolic link"))


def test_more_than_half_of_the_library_needs_force(stage: Stage, plan: Plan) -> None:
    give(stage, plan)
    shutil.rmtree(stage.data / "actors" / GOOD)
    stage.refuses(*EXECUTE, "execute=true", naming=("more than half", "force=true", "plan.json"))


def test_actions_of_no_such_type_are_refused(stage: Stage, plan: Plan) -> None:
    give(stage, plan)
    stage.refuses(*EXECUTE, "actions=[delete]", naming=("steps.execute.actions", "create_base_image"))
    stage.refuses(*EXECUTE, "actions=create_base_image", naming=("steps.execute.actions",))


@pytest.mark.parametrize(("change", "naming"), [
    (lambda document: document.pop("results"), ("results",)),
    (lambda document: document["results"][0].update(actor_name="../../x"), ("/results/0/actor_name", "../../x")),
    (lambda document: document["results"][0].update(action="rm"), ("/results/0/action", "rm")),
    (lambda document: document["results"][0].update(image_sha256="x"), ("/results/0/image_sha256",)),
], ids=["none", "name", "action", "hash"])  # fmt: skip
def test_bad_assessments_are_refused(stage: Stage, change: Callable[[Any], Any], naming: tuple[str, ...]) -> None:
    document = assessments()
    change(document)
    plan_from(stage, document)
    stage.refuses("run", "recipes/plan_only.yaml", naming=("results.json", *naming))


@pytest.mark.parametrize("image", ["../truth.json", "/etc/passwd", f"actors/{GOOD}/../../../truth.json", "a\0b"])
def test_an_assessment_of_an_image_elsewhere_fails_its_actor(stage: Stage, image: str) -> None:
    document = assessments()
    document["results"][0]["image"] = image
    plan_from(stage, document)
    stage.refuses("run", "recipes/plan_only.yaml", code=1, naming=("results.json", GOOD))
    assert stage.latest("plan_only", "plan/action_plan.json")["actions"] == []


def assessments() -> dict[str, Any]:
    entry = {"actor_id": 0, "actor_name": GOOD, "action": "recreate_blurry", "reason": "x", "success": True,
             "image": f"actors/{GOOD}/base_image/{GOOD}_base.jpg", "image_sha256": HASH}  # fmt: skip
    return {"total_processed": 1, "results": [entry]}


def plan_from(stage: Stage, document: Any) -> None:
    stage.write("results.json", json.dumps(document))
    stage.write(
        "recipes/plan_only.yaml",
        "defaults:\n  - base\n  - steps@steps.plan: plan\n  - _self_\nsteps: {plan: {assessments: results.json}}\n",
    )
