"""With the trained weights: a reference makes frames show that face, and the gate tells right texts from wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.ledger import Ledger
from steps.backends import embedded_models as embedded
from steps.library.shots import Shot
from steps.studio.frames.attempts import Attempts
from steps.studio.frames.gate import Gate, null_percentiles
from steps.studio.frames.memory import Memory
from steps.studio.frames.pipelines import Pipelines
from steps.studio.frames.references import reference_in
from steps.studio.frames.setups import ADAPTER, BASELINE, Sampling, Scales
from steps.studio.frames.telling import Board, Panel, Studio, Teller
from steps.studio.models import domain, layout
from steps.studio.world import Scene
from tests.support import calls

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PLACES = ("at the market", "in the desert", "in the snow", "under the night sky", "on the steppe", "inside a yurt")


def test_a_reference_makes_frames_show_that_face(trained: Path, ledger: Ledger, tmp_path: Path) -> None:
    asked = calls(ledger)
    faces = embedded.EmbeddedFaces(embedded.EmbeddedFacesSettings(str(trained)), asked)
    judge = embedded.EmbeddedFaces(embedded.EmbeddedFacesSettings(str(trained), layout.FACE_PACKS[1]), asked)
    clip = embedded.EmbeddedClip(embedded.EmbeddedClipSettings(str(trained)), asked)
    diffusion = embedded.EmbeddedDiffusion(embedded.EmbeddedDiffusionSettings(str(trained)), asked)
    stranger = domain.Picture(domain.person("stranger", 0), Scene("studio", 0), Shot("portrait")).draw()
    given = reference_in(faces, stranger, "a picture")
    assert given is not None
    wanted = judge.find(stranger)[0].embedding
    pipelines = Pipelines(diffusion)
    studio = Studio(diffusion, pipelines, Memory(pipelines, 6), Gate(clip), faces)
    texts = [f"a portrait of a person, {place}" for place in PLACES]
    panels = [Panel(number, text, text, Shot("portrait")) for number, text in enumerate(texts, 1)]
    likeness, percentiles = {}, []
    for mode in (BASELINE, ADAPTER):
        board = Board(mode, 0, panels, None, Sampling(20, 3.0, 64, 64), Scales(adapter=1.0), 0)
        attempts = Attempts(tmp_path / mode)
        Teller(studio, board, attempts).tell(given if mode == ADAPTER else None)
        images = [attempts.image(attempts.best(panel.frame)) for panel in panels]
        found = [judge.find(image) for image in images]
        likeness[mode] = float(np.mean([float(one[0].embedding @ wanted) if one else 0.0 for one in found]))
        percentiles += null_percentiles(studio.gate.cosines(images, texts), range(len(texts)))
    assert likeness[ADAPTER] > likeness[BASELINE] + 0.15, likeness
    assert np.mean([value for value in percentiles if value is not None]) > 75
