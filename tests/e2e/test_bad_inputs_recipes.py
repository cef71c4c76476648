"""Recipes and overrides from strangers or with mistakes: a message that names file and key, exit 2, and nothing ran or changed."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from tests.e2e.stage import Stage, assert_told, command, snapshot, without_privilege

HEAD = "defaults:\n  - base\n  - steps@steps.validate: validate\n  - _self_\n"
# Hydra would make a file of each of these.
CALL = "_target_: os.mkdir\n"
NOT_ALLOWED = "not allowed"


class Bad(NamedTuple):
    """A recipe, the words that its refusal must hold, and what stands beside it."""

    id: str
    text: str | bytes
    naming: tuple[str, ...]
    beside: Mapping[str, str] = MappingProxyType({})


def under_validate(line: str) -> str:
    return f"{HEAD}steps:\n  validate:\n    {line}\n"


def bomb() -> str:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    return HEAD + "l0: &l0 [lol, lol, lol, lol]\n" + "\n".join(levels) + "\n"


def deep(depth: int) -> str:
    return f"{HEAD}deep: {'[' * depth}{']' * depth}\n"


RECIPES = [
    Bad("not-yaml", "defaults: [base\n", ("mine.yaml:2", "not YAML")),
    Bad("tab", "defaults:\n\t- base\n", ("mine.yaml:2", "not YAML")),
    Bad("not-utf8", b"defaults: \xff\n", ("mine.yaml", "not UTF-8 at byte 10")),
    Bad("utf16", HEAD.encode("utf-16"), ("mine.yaml", "not UTF-8 at byte 0")),
    Bad("control-character", HEAD + "a: \x07\n", ("mine.yaml", "not YAML")),
    Bad("empty", "", ("mine.yaml", "empty")),
    Bad("only-comment", "# nothing\n", ("mine.yaml", "empty")),
    Bad("two-documents", HEAD + "---\n" + HEAD, ("mine.yaml:5", "not YAML")),
    Bad("list-at-top", "- base\n", ("mine.yaml", "mapping")),
    Bad("word-at-top", "validate\n", ("mine.yaml", "mapping")),
    Bad("alias-bomb", bomb(), ("mine.yaml", "alias bomb")),
    Bad("alias-of-itself", HEAD + "a: &a [*a]\n", ("mine.yaml:5", "nested more than 100 deep")),
    Bad("nested-200-deep", deep(200), ("mine.yaml:5", "nested more than 100 deep")),
    Bad("nested-10000-deep", deep(10_000), ("mine.yaml", "nested")),
    Bad("two-megabytes", HEAD + "#" * 2_000_000, ("mine.yaml", "2,000,0", "at most 1,000,000")),
    Bad("target-at-top", HEAD + CALL, ("mine.yaml:5", "_target_", NOT_ALLOWED)),
    Bad("target-in-step", under_validate(CALL), ("mine.yaml:7", "steps.validate._target_", NOT_ALLOWED)),
    Bad("target-deep", HEAD + "x: [{y: {_target_: os.mkdir}}]\n", ("mine.yaml:5", "x[0].y._target_")),
    Bad("target-escaped", HEAD + '"_t\\x61rget_": os.mkdir\n', ("mine.yaml:5", "_target_")),
    Bad("target-as-alias-key", HEAD + "a: &t _target_\nb: {*t : os.mkdir}\n", ("mine.yaml:5", "_target_")),
    Bad("target-by-merge", HEAD + "a: &t {_target_: os.mkdir}\nb: {<<: *t}\n", ("mine.yaml:5", "a._target_")),
    Bad("target-in-defaults", "defaults:\n  - _target_: os\n", ("mine.yaml:2", "defaults[0]._target_")),
    Bad("target-beside", HEAD + "  - evil\n", ("evil.yaml:1", "_target_"), {"evil.yaml": CALL}),
    Bad("target-beside-packaged", HEAD + "  - /evil@steps.x\n", ("evil.yaml:1", "_target_"), {"evil.yaml": CALL}),
    Bad("target-beside-beside", HEAD + "  - a\n", ("b.yaml:1",), {"a.yaml": "defaults: [b]\n", "b.yaml": CALL}),
    Bad("target-in-group", HEAD + "  - optional g: [x, y]\n", ("g/y.yaml:1",), {"g/x.yaml": "a: 1", "g/y.yaml": CALL}),
    Bad("target-interpolated-group", HEAD + "  - vision: embedded\n  - g: ${vision}x\n", ("_target_",),
        {"g/embeddedx.yaml": CALL}),
    Bad("target-outside", HEAD + "  - ../elsewhere/evil\n", ("mine.yaml",), {"../elsewhere/evil.yaml": CALL}),
    Bad("target-in-shadow-of-ours", HEAD, ("_target_",), {"vision/embedded.yaml": CALL}),
    Bad("base-shadowed", HEAD, ("base.yaml:1", "_target_"), {"base.yaml": CALL}),
    Bad("steps-shadowed", HEAD, ("validate.yaml:1",), {"steps/validate.yaml": CALL}),
    Bad("callbacks", HEAD + "hydra:\n  callbacks:\n    x: {a: 1}\n", ("mine.yaml:5", "hydra.callbacks", NOT_ALLOWED)),
    Bad("logging-factory", HEAD + "hydra:\n  job_logging:\n    handlers: {x: {(): os.mkdir}}\n", ("mine.yaml", "'()'")),
    Bad("logging-class", HEAD + "hydra:\n  job_logging:\n    handlers: {x: {class: os.mkdir}}\n", ("hydra.job_logging",)),
    Bad("searchpath", HEAD + "hydra:\n  searchpath: ['pkg://os']\n", ("mine.yaml:5", "hydra.searchpath")),
    Bad("launcher-target", HEAD + "hydra:\n  launcher: {_target_: os.mkdir}\n", ("mine.yaml:6", "hydra.launcher._target_")),
    Bad("environment", HEAD + "hydra:\n  job: {env_set: {A: b}}\n", ("mine.yaml:5", "hydra.job ")),
    Bad("run-dir", HEAD + "hydra:\n  run: {dir: /}\n", ("mine.yaml:5", "hydra.run ")),
    Bad("hydra-dotted", HEAD + "hydra.callbacks: {x: 1}\n", ("mine.yaml", "hydra.callbacks")),
    Bad("callbacks-beside", HEAD + "  - evil\n", ("hydra.callbacks",),
        {"evil.yaml": "# @package _global_\nhydra: {callbacks: {x: {a: 1}}}\n"}),
    Bad("environment-packaged-beside", HEAD + "  - ../elsewhere/evil@_global_\n", ("hydra.job.env_set",),
        {"../elsewhere/evil.yaml": "hydra: {job: {env_set: {OPENAI_BASE_URL: http://evil}}}\n"}),
    Bad("logging-option-beside", HEAD + "  - override hydra/job_logging: evil\n", ("recipes/hydra", "move it away"),
        {"hydra/job_logging/evil.yaml": "root: {(): os.mkdir}\n"}),
    Bad("python-tag", HEAD + "x: !!python/object/apply:os.mkdir [canary]\n", ("mine.yaml:5", "x", "python/object/apply")),
    Bad("python-tag-mapping", HEAD + "x: !!python/object:os.x {a: 1}\n", ("mine.yaml:5", "python/object")),
    Bad("own-tag", HEAD + "x: !env HOME\n", ("mine.yaml:5", "x", "!env")),
    Bad("unknown-step", "defaults: [base, {steps@steps.x: nope}]\n", ("mine.yaml", "steps/nope", "validate")),
    Bad("unknown-step-by-key", "defaults: [base, _self_]\nsteps: {x: {step: nope}}\n", ("mine.yaml", "'nope'", "validate")),
    Bad("step-of-no-name", "defaults: [base, _self_]\nsteps: {x: {votes: 1}}\n", ("mine.yaml", "steps.x names no step")),
    Bad("no-steps", "defaults: [base]\n", ("mine.yaml", "at least one step")),
    Bad("steps-a-number", "defaults: [base, _self_]\nsteps: 5\n", ("mine.yaml", "steps")),
    Bad("step-a-list", "defaults: [base, _self_]\nsteps: {x: [1]}\n", ("mine.yaml", "steps.x")),
    Bad("no-base", "steps: {x: {step: validate}}\n", ("mine.yaml", "base")),
    Bad("label-slash", "defaults: [base, _self_]\nsteps: {a/b: {step: validate}}\n", ("mine.yaml", "steps.a/b")),
    Bad("label-up", "defaults: [base, _self_]\nsteps: {..: {step: validate}}\n", ("mine.yaml", "steps...")),
    Bad("label-absolute", "defaults: [base, _self_]\nsteps: {/tmp/x: {step: validate}}\n", ("steps./tmp/x",)),
    Bad("label-long", f"defaults: [base, _self_]\nsteps: {{{'x' * 300}: {{step: validate}}}}\n", ("steps.xxx", "label")),
    Bad("unused-key", HEAD + "actros: [1]\n", ("mine.yaml", "actros")),
    Bad("key-not-text", HEAD + "1: 2\n", ("mine.yaml", "1 is not a setting")),
    Bad("key-null", HEAD + "null: 2\n", ("mine.yaml",)),
    Bad("unknown-parameter", under_validate("vots: 1"), ("mine.yaml", "vots", "steps.validate")),
    Bad("wrong-type", under_validate("votes: many"), ("mine.yaml", "steps.validate.votes", "many")),
    Bad("wrong-type-setting", HEAD + "workers: many\n", ("mine.yaml", "workers", "many")),
    Bad("wrong-type-data", HEAD + "data: {a: 1}\n", ("mine.yaml", "data")),
    Bad("no-data", HEAD + "data: null\n", ("mine.yaml", "data")),
    Bad("data-with-nul", HEAD + 'data: "a\\0b"\n', ("mine.yaml", "data")),
    Bad("outputs-with-nul", HEAD + 'outputs: "a\\0b"\n', ("mine.yaml", "outputs")),
    Bad("empty-outputs", HEAD + 'outputs: ""\n', ("mine.yaml", "outputs")),
    Bad("budget-a-number", HEAD + "budget: 5\n", ("mine.yaml", "budget")),
    Bad("budget-nan", HEAD + "budget: {usd: .nan}\n", ("mine.yaml", "budget.usd", "nan")),
    Bad("octal", HEAD + "seed: 0010\n", ("mine.yaml:5", "seed", "0010", "8", "'0010'")),
    Bad("octal-in-list", under_validate("protect: [0042]"), ("mine.yaml:7", "steps.validate.protect[0]", "0042")),
    Bad("integer-of-5000-digits", HEAD + f"seed: {'1' * 5000}\n", ("mine.yaml",)),
    Bad("forward-reference", "defaults: [base, {steps@steps.plan: plan}, {steps@steps.validate: validate}, _self_]\n"
        "steps: {plan: {assessments: '${step:validate}/x'}}\n", ("mine.yaml", "steps.plan.assessments", "validate")),
    Bad("reference-to-itself", "defaults: [base, {steps@steps.plan: plan}, _self_]\n"
        "steps: {plan: {assessments: '${step:plan}/x'}}\n", ("mine.yaml", "steps.plan.assessments")),
    Bad("reference-to-nobody", under_validate("truth: ${step:nobody}/x"), ("mine.yaml", "steps.validate.truth", "nobody")),
    Bad("data-of-no-step", HEAD + "data: ${step:nobody}/x\n", ("mine.yaml", "data", "nobody")),
    Bad("step-scheme-in-label", HEAD + "data: step://../../etc\n", ("mine.yaml", "data")),
    Bad("missing-parameter", "defaults: [base, {steps@steps.execute: execute}]\n", ("mine.yaml", "steps.execute.plan")),
    Bad("missing-top", HEAD + "who: ???\nsteps: {validate: {actors: '${who}'}}\n", ("mine.yaml", "who")),
    Bad("secret-from-environment", under_validate("prompt: ${oc.env:OPENAI_API_KEY}"), ("steps.validate.prompt", "OPENAI_API_KEY")),
    Bad("secret-nested", under_validate("prompt: '${oc.env:${oc.env:NO_SUCH,MY_PASSWORD}}'"), ("prompt", "MY_PASSWORD")),
    Bad("secret-old-style", under_validate("prompt: '${env:OPENAI_API_KEY}'"), ("mine.yaml", "env")),
    Bad("secret-in-top-key", HEAD + "data: ${oc.env:AWS_SECRET_ACCESS_KEY}\n", ("mine.yaml", "data", "AWS_SECRET")),
    Bad("no-such-resolver", under_validate("prompt: '${nope:x}'"), ("mine.yaml", "steps.validate.prompt", "nope")),
    Bad("no-such-key", under_validate("prompt: '${nope.x}'"), ("mine.yaml", "steps.validate.prompt", "nope")),
    Bad("interpolation-circle", HEAD + "a: ${b}\nb: ${a}\n", ("mine.yaml",)),
    Bad("interpolation-broken", under_validate("prompt: '${a'"), ("mine.yaml", "steps.validate.prompt")),
    Bad("duplicate-key", HEAD + "seed: 1\nseed: 2\n", ("mine.yaml:6", "seed")),
    Bad("duplicate-label", HEAD + "  - steps@steps.validate: validate\n", ("mine.yaml", "steps.validate")),
    Bad("defaults-a-mapping", "defaults: {base: x}\n", ("mine.yaml", "defaults")),
    Bad("defaults-of-numbers", "defaults: [1]\n", ("mine.yaml", "defaults")),
    Bad("defaults-missing-file", "defaults: [base, nope]\n", ("mine.yaml", "nope")),
    Bad("defaults-circle", "defaults: [base, mine]\n", ("mine.yaml", "defaults")),
    Bad("backend-unknown", HEAD + "  - override vision: nope\n", ("mine.yaml", "vision/nope", "embedded")),
    Bad("backend-by-key", HEAD + "vision: {backend: nope}\n", ("mine.yaml", "vision.nope")),
    Bad("profile-unknown", HEAD + "profile: nope\n", ("mine.yaml", "profile")),
    Bad("complex-key", HEAD + "? [a, b]\n: {_target_: os.mkdir}\n", ("mine.yaml",)),
    Bad("binary", HEAD + "data: !!binary aGk=\n", ("mine.yaml", "data")),
    Bad("set", HEAD + "data: !!set {a, b}\n", ("mine.yaml", "data")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that recipes may try to read."""
    for name in ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, "canary-key-5f1c9a")


@pytest.mark.parametrize("bad", RECIPES, ids=lambda bad: bad.id)
def test_a_bad_recipe_is_refused(stage: Stage, bad: Bad) -> None:
    stage.write("recipes/mine.yaml", bad.text)
    for name, text in bad.beside.items():
        stage.write(f"recipes/{name}", text)
    text = stage.refuses("run", "recipes/mine.yaml", naming=bad.naming)
    assert "canary-key" not in text
    assert not (stage.root / "outputs").exists()


# What Hydra itself would do with a configuration before anybody could look at it: each of these makes a folder if it is run.
HOOKS = {
    "callback": "hydra: {callbacks: {x: {_target_: pathlib.Path.mkdir, self: {_target_: pathlib.Path, _args_: [canary]}}}}",
    "logging": "hydra: {job_logging: {root: {level: INFO}, handlers: {x: {(): os.mkdir, path: canary}}}}",
    "logging-class": "hydra: {job_logging: {root: {level: INFO}, handlers: {x: {class: os.mkdir, path: canary}}}}",
    "hydra-logging": "hydra: {hydra_logging: {root: {level: INFO}, handlers: {x: {(): os.mkdir, path: canary}}}}",
    "launcher": "hydra: {launcher: {_target_: os.mkdir, path: canary}}",
    "sweeper": "hydra: {sweeper: {params: {seed: {_target_: os.mkdir, path: canary}}}}",
    "environment": "hydra: {job: {env_set: {CALLSHEET_CANARY: x}}}",
}
WAYS = {
    "shown": ("--cfg", "job"),
    "told": ("--info",),
    "swept": ("-m", "seed=1,2"),
    "joblib": ("-m", "hydra/launcher=joblib", "seed=1,2"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hook", HOOKS)
def test_no_hook_of_hydra_runs_whatever_way_it_came_in(stage: Stage, hook: str, way: str) -> None:
    """Through a file outside of the recipe's folder, which the first check does not read."""
    stage.write("recipes/mine.yaml", HEAD + "  - ../elsewhere/evil@_global_\n")
    stage.write("elsewhere/evil.yaml", HOOKS[hook])
    stage.refuses("run", "recipes/mine.yaml", *WAYS[way], naming=("hydra",))
    assert "CALLSHEET_CANARY" not in os.environ
    assert not (stage.root / "outputs").exists()


@pytest.mark.parametrize("way", ["shown", "told", "joblib"])
def test_a_launcher_beside_the_recipe_does_not_stand_in_for_ours(stage: Stage, way: str) -> None:
    stage.write("recipes/mine.yaml", HEAD)
    stage.write("recipes/hydra/launcher/joblib.yaml", "_target_: os.mkdir\npath: canary\n")
    stage.refuses(
        "run", "recipes/mine.yaml", *WAYS[way], "hydra/launcher=joblib", naming=("recipes/hydra", "move it away")
    )


def test_the_last_of_many_jobs_is_looked_at_as_the_first(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.cli.sweep.CHECKED_JOBS", 2)
    stage.write("recipes/mine.yaml", HEAD)
    names = [f"g{number}" for number in range(4)]
    for name in names:
        stage.write(f"recipes/some/{name}.yaml", "# @package _global_\nseed: 1\n")
    stage.write(f"recipes/some/{names[-1]}.yaml", f"# @package _global_\n{HOOKS['logging']}\n")
    stage.refuses(
        "run", "recipes/mine.yaml", "-m", f"+some={','.join(names)}", naming=("mine.yaml", "hydra.job_logging")
    )


OVERRIDES = [
    ("unknown-key", ["nope=1"], ("nope",)),
    ("unknown-parameter", ["steps.validate.vots=1"], ("vots",)),
    ("unknown-label", ["steps.valdate.votes=1"], ("valdate",)),
    ("added-unused", ["+nope=1"], ("nope",)),
    ("wrong-type", ["steps.validate.votes=many"], ("steps.validate.votes", "many")),
    ("wrong-type-setting", ["execute=perhaps"], ("execute", "perhaps")),
    ("list-without-brackets", ["actions=a,b"], ("actions=[a,b]", "-m")),
    ("actors-without-brackets", ["actors=1,2"], ("actors=[1,2]", "-m")),
    ("no-votes", ["steps.validate.votes=0"], ("steps.validate.votes = 0", "1 or more")),
    ("no-sample", ["sample=0"], ("steps.validate.sample = 0", "1 or more")),
    ("no-workers", ["workers=0"], ("workers = 0", "1 or more")),
    ("negative-budget", ["budget.usd=-1"], ("budget.usd = -1", "0 or more")),
    ("nan-budget", ["budget.usd=nan"], ("budget.usd = nan",)),
    ("negative-seed", ["seed=-5"], ("seed = -5", "0 or more")),
    ("negative-grace", ["grace_s=-1"], ("grace_s = -1",)),
    ("no-attempts", ["retry.attempts=0"], ("retry.attempts = 0",)),
    ("executor-unknown", ["executor.name=ray"], ("executor.name", "local")),
    ("callbacks", ["+hydra.callbacks.x._target_=os.mkdir"], ("_target_",)),
    ("callbacks-without-target", ["+hydra.callbacks.x=1"], ("hydra.callbacks.x", "Hydra")),
    ("logging-factory", ["+hydra.job_logging.handlers.x.()=os.mkdir"], ("()",)),
    ("target-in-value", ["+steps.validate.x={_target_: os.mkdir}"], ("_target_",)),
    ("target-in-list", ["protect=[{_target_: os.mkdir}]"], ("_target_",)),
    ("sweeper-target", ["hydra.sweeper._target_=os.mkdir"], ("_target_",)),
    ("searchpath", ["hydra.searchpath=[/tmp]"], ("hydra.searchpath",)),
    ("run-dir", ["hydra.run.dir=/tmp/x"], ("hydra.run.dir",)),
    ("environment", ["hydra.job.env_set.A=b"], ("hydra.job.env_set",)),
    ("logging-option", ["hydra/job_logging=default"], ("hydra/job_logging",)),
    ("hydra-renamed", ["hydra@x=default"], ("hydra",)),
    ("config-dir", ["--config-dir", "/tmp"], ("--config-dir",)),
    ("config-path", ["--config-path=/tmp"], ("--config-path",)),
    ("experimental-rerun", ["--experimental-rerun", "x.pickle"], ("--experimental-rerun",)),
    ("unknown-option", ["--nope"], ("--nope", "callsheet run --help")),
    ("cfg-of-nothing", ["--cfg", "nope"], ("nope", "job")),
    ("package-of-nothing", ["--cfg", "job", "--package", "nope"], ("nope",)),
    ("info-of-nothing", ["--info", "nope"], ("nope",)),
    ("no-override", ["steps.validate"], ("steps.validate", "key=value")),
    ("grammar", ["data=[a"], ("data=[a",)),
    ("grammar-key", ["=x"], ("=x",)),
    ("drop-nothing", ["~steps.nope"], ("steps.nope",)),
    ("drop-all-steps", ["~steps.validate", "~steps.plan"], ("at least one step",)),
    ("drop-what-is-needed", ["~steps.validate"], ("steps.plan.assessments", "validate")),
    ("drop-a-backend", ["~vision"], ("vision",)),
    ("drop-a-setting-group", ["vision=nope"], ("vision/nope", "embedded")),
    ("data-missing", ["data=nowhere"], ("nowhere/actorsData.json", "no such file")),
    ("data-a-file", ["data=truth.json"], ("truth.json/actorsData.json",)),
    ("data-empty", ["data="], ("data",)),
    ("data-long", [f"data={'x' * 300}"], ("actorsData.json",)),
    ("outputs-a-file", ["outputs=truth.json"], ("truth.json",)),
    ("outputs-long", [f"outputs={'x' * 300}"], ("xxx",)),
    ("ledger-a-folder", ["ledger=data"], ("data", "ledger=PATH")),
    ("ledger-no-database", ["ledger=truth.json"], ("truth.json", "ledger=PATH")),
    ("ledger-below-a-file", ["ledger=truth.json/x"], ("truth.json",)),
    ("secret", ["steps.validate.prompt=${oc.env:OPENAI_API_KEY}"], ("prompt", "OPENAI_API_KEY")),
    ("python-code", ["seed=__import__('os')"], ("seed",)),
    ("truth-missing", ["+steps.validate.truth=nowhere.json"], ("nowhere.json",)),
    ("truth-of-other-kind", ["steps.validate.truth=data/actorsData.json"], ("actorsData.json", "truth.json")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "naming"), [case[1:] for case in OVERRIDES], ids=[case[0] for case in OVERRIDES])
def test_a_bad_override_is_refused(stage: Stage, words: list[str], naming: tuple[str, ...]) -> None:
    recipe = "repair_base_images" if "actions" in words[0] else "validate_base_images"
    stage.refuses("run", recipe, *words, naming=naming)


@pytest.mark.parametrize("name", [
    "nope", "", "../etc/passwd", "/etc/passwd", "recipes/mine.yml", "a\0b", "x" * 300, "x/" * 200, "сценарий", "data", ".",
])  # fmt: skip
def test_a_recipe_that_is_not_there_is_told_with_those_that_are(stage: Stage, name: str) -> None:
    stage.refuses("run", name, naming=("recipe",))


@pytest.mark.parametrize("name", ["base.yaml", "mine.yml"])
def test_a_recipe_of_a_name_that_is_taken_is_refused(stage: Stage, name: str) -> None:
    stage.write(f"recipes/{name}", HEAD)
    stage.refuses("run", f"recipes/{name}", naming=(name, "NAME.yaml"))


@pytest.mark.parametrize(
    "name", ["my recipe", "a=b", "a,b", "мой рецепт", "a@b", "a:b", "$(touch canary)", "-x", "${x}"]
)
def test_a_recipe_of_an_odd_name_works_or_is_refused(stage: Stage, name: str) -> None:
    stage.write(f"recipes/{name}.yaml", HEAD)
    before = snapshot(stage.root)
    told = stage.run("run", f"recipes/{name}.yaml", "~steps.plan")
    assert_told(told, 2, (name,)) if told.code else assert_told(told, 0, ("done",))
    assert snapshot(stage.root) == before


def test_a_broken_recipe_does_not_hide_the_others_in_the_list(stage: Stage) -> None:
    stage.write("recipes/broken.yaml", b"defaults: \xff")
    stage.write("recipes/mine.yaml", "# Mine.\n" + HEAD)
    stage.write("recipes/tagged.yaml", HEAD + "x: !!python/object/apply:os.mkdir [canary]\n")
    told = stage.run("recipes")
    assert_told(told, 0, ("mine", "Mine.", "broken.yaml", "not UTF-8", "tagged.yaml"))
    assert not stage.canary.exists()


@pytest.mark.parametrize("words", [("recipes",), ("doctor",)])
def test_other_commands_refuse_a_bad_recipe_too(stage: Stage, words: tuple[str, ...]) -> None:
    stage.write("recipes/mine.yaml", HEAD + CALL)
    stage.refuses(*words, "recipes/mine.yaml", naming=("mine.yaml:5", "_target_"))
    stage.write("recipes/mine.yaml", b"\xff")
    stage.refuses(*words, "recipes/mine.yaml", naming=("mine.yaml", "not UTF-8"))


def test_an_alias_bomb_takes_little_memory_and_time(stage: Stage) -> None:
    """In a process of its own, under a limit that the bomb (10 ** 11 words) would break through at once."""
    stage.write("recipes/mine.yaml", bomb())
    limit = 1024 * 1024 * 1024
    prefix = ("prlimit", f"--as={limit}", f"--cpu={20}")
    told = command("run", "recipes/mine.yaml", cwd=stage.root, prefix=prefix, env={"OPENBLAS_NUM_THREADS": "1"})
    assert_told(told, 2, ("mine.yaml", "alias bomb"))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < limit // 1024


def test_outputs_that_can_not_be_written_are_told(stage: Stage) -> None:
    prefix = without_privilege()
    (stage.root / "outputs").mkdir(mode=0o555)
    told = command("run", "validate_base_images", cwd=stage.root, prefix=prefix)
    assert_told(told, 2, ("outputs",))


def test_a_recipe_that_can_not_be_read_is_told(stage: Stage) -> None:
    prefix = without_privilege()
    stage.write("recipes/mine.yaml", HEAD).chmod(0)
    told = command("run", "recipes/mine.yaml", cwd=stage.root, prefix=prefix)
    assert_told(told, 2, ("mine.yaml", "Permission denied"))


@pytest.mark.parametrize("words", [["run", b"\xff"], ["run", "validate_base_images", b"data=\xff"]])
def test_words_that_are_no_utf8_are_told(stage: Stage, words: list[str | bytes]) -> None:
    """As a terminal in another encoding sends them."""
    assert_told(command(*words, cwd=stage.root), 2, ("\\udcff",))


@pytest.mark.parametrize(
    "words", [("run", "nope"), ("run", "demo", "nope=1"), ("run", "demo", "steps.validate.votes=0")]
)
def test_the_real_command_says_the_same(stage: Stage, words: tuple[str, ...]) -> None:
    before = snapshot(stage.root)
    assert_told(command(*words, cwd=stage.root), 2, (words[-1].split("=")[0],))
    assert snapshot(stage.root) == before


def test_a_pipe_in_the_place_of_a_recipe_does_not_hang(stage: Stage) -> None:
    (stage.root / "recipes").mkdir()
    os.mkfifo(stage.root / "recipes/mine.yaml")
    stage.refuses("run", "mine", naming=("mine", "not found"))
    stage.refuses("run", str(Path("recipes/mine.yaml")), naming=("mine.yaml", "not found"))
