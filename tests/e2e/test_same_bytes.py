"""Same inputs, same bytes (rule 11)."""

from __future__ import annotations

import shutil

from tests.e2e.stage import Stage
from tests.library import tree

WORDS = ("run", "repair_base_images", "execute=true", "steps.plan.width=256", "steps.plan.height=384")


def test_two_copies_of_a_library_are_repaired_alike(stage: Stage) -> None:
    """Whatever the number of workers, from fresh answers."""
    shutil.copytree(stage.data, stage.root / "copy")
    made, rows = [], []
    for data, workers in (("data", 1), ("copy", 4)):
        assert stage.run(*WORDS, f"data={data}", f"workers={workers}", "fresh=true").code == 0
        made.append(
            {path: digest for path, digest in tree(stage.root / data).items() if not path.startswith(".callsheet")}
        )
        rows.append(stage.latest("repair_base_images", "validate/results.json")["results"])
    assert made[0] == made[1]
    assert rows[0] == rows[1]


def test_another_seed_makes_another_image(stage: Stage) -> None:
    shutil.copytree(stage.data, stage.root / "copy")
    seeds = []
    for data, seed in (("data", 0), ("copy", 1)):
        assert stage.run(*WORDS, f"data={data}", f"seed={seed}").code == 0
        plan = stage.latest("repair_base_images", "plan/action_plan.json")
        seeds.append([row["make"]["seed"] for row in plan["actions"]])
    assert not set(seeds[0]) & set(seeds[1])
