"""A thousand actors validated, then one image changed: how many assessments that costs, and how long until the first."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from runner.ledger import Ledger
from steps.validate import Validate, ValidateParams
from tests.library import ScriptedVision, context, jpeg, make_library, put
from tests.support import Engine


def main(folder: str, count: str) -> None:
    """Print what both runs took as JSON."""
    root = Path(folder)
    names = [f"{number:04d}_actor" for number in range(int(count))]
    library = make_library(root / "data", names, training=0)
    first = _validate(root, library, "first")
    put(library / f"actors/{names[500]}/base_image/{names[500]}_base.jpg", jpeg("white"))
    print(json.dumps({"first": first, "changed": _validate(root, library, "second")}))


def _validate(root: Path, library: Path, run: str) -> dict[str, float]:
    vision = ScriptedVision()
    cpu = time.process_time()
    with Ledger(root / "ledger.sqlite") as ledger:
        step = Validate(ValidateParams(), context(ledger, root, library, run=run), vision)
        Engine(root, workers=8).run(step, run)
    return {"assessments": len(vision.questions), "cpu_s": time.process_time() - cpu}


if __name__ == "__main__":
    main(*sys.argv[1:])
