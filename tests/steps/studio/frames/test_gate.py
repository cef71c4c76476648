"""The gate: CLIPScore, what is scored, and where a score stands among those with the story's other texts."""

from __future__ import annotations

import numpy as np
import pytest

from steps.studio.frames.gate import Gate, null_percentiles, score_of
from tests.frames import ScriptedClip


def test_the_score_is_hessels() -> None:
    assert score_of(0.28) == pytest.approx(0.70)
    assert score_of(-0.3) == 0.0


def test_the_threshold_is_the_encoders_unless_told_otherwise() -> None:
    assert Gate(ScriptedClip()).passes(0.28)
    assert not Gate(ScriptedClip()).passes(0.279)
    assert Gate(ScriptedClip(), 0.5).passes(0.2)
    assert Gate(ScriptedClip(), 0.0).passes(-1.0)


def test_texts_have_the_prefix_and_are_counted() -> None:
    scored = Gate(ScriptedClip(limit=7)).scored("a person rides")
    assert scored.text == "A photo depicts a person rides"
    assert (scored.tokens, scored.cut) == (8, True)
    assert Gate(ScriptedClip(prefix="")).scored("a person").text == "a person"


def test_a_percentile_says_how_many_of_the_other_texts_fit_less() -> None:
    cosines = np.array([[0.3, 0.1, 0.2, 0.4], [0.2, 0.2, 0.1, 0.3]])
    assert null_percentiles(cosines, [0, 1]) == [66.67, 50.0]
    assert null_percentiles(cosines[:, :1], [0, 0]) == [None, None]
