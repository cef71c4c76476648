"""How good the embedded models are: prints every bar. `python -m tests.bench.embedded_models [FOLDER] [PICTURES]`.

FOLDER is a folder of weights, by default those that ship; sheets of samples are left in outputs/embedded_models/sheets.
Exit 1 when a bar is missed.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

from runner.errors import UserError
from steps.studio.models import weights

SHEETS = Path("outputs/embedded_models/sheets")


def main(words: list[str]) -> int:
    """Measure, print, and say whether all bars are reached."""
    import torch

    from steps.studio.models.measure import Measured, bars
    from steps.studio.models.teaching import teaching

    torch.set_num_threads(1)
    folder = weights.checked(Path(words[0]) if words else weights.shipped())
    measured = Measured(folder, int(words[1]) if len(words) > 1 else 600, SHEETS)
    missed = 0
    for bar in chain(bars(measured), teaching(measured)):
        print(bar, flush=True)
        missed += not bar.passed
    print(f"{missed} below their bars." if missed else "All bars reached.")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
