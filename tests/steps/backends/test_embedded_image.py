from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner.errors import ItemError
from runner.ledger import Ledger
from steps.backends.embedded import EmbeddedImage, EmbeddedImageSettings
from steps.backends.protocols import ImageRequest
from steps.library.pictures import decode
from tests.support import calls

FACTS = {"description": "29 year old woman with long black hair", "outfit": "Elegant attire: red dress"}


def made(ledger: Ledger, **changes: Any) -> np.ndarray[Any, Any]:
    given: dict[str, Any] = {"prompt": "a woman in the snow", "width": 320, "height": 180, "steps": 1, "seed": 3}
    request = ImageRequest(key="action/0", **({"facts": FACTS} | given | changes))
    image = EmbeddedImage(EmbeddedImageSettings(), calls(ledger)).make(request)
    return np.asarray(decode(image.data, "made").image, dtype=np.int16)


def test_a_class_among_the_facts_asks_for_a_training_image(ledger: Ledger) -> None:
    ink, comic = (made(ledger, facts={**FACTS, "class": kind}) for kind in ("bw_stylized", "color_stylized"))
    assert ink.shape == comic.shape == (180, 320, 3)
    assert np.ptp(ink, axis=2).max() <= 2 < 40 < np.ptp(comic, axis=2).max()


def test_the_same_request_gives_the_same_bytes_and_another_seed_another_picture(ledger: Ledger) -> None:
    facts = {**FACTS, "class": "photorealistic"}
    first, again, other = made(ledger, facts=facts), made(ledger, facts=facts), made(ledger, facts=facts, seed=4)
    assert (first == again).all()
    assert (first != other).any()


def test_without_a_class_it_is_a_portrait_before_a_plain_backdrop(ledger: Ledger) -> None:
    assert made(ledger, width=192, height=288)[10:140, 2:10].std() < 25


def test_a_class_that_it_can_not_draw_is_told(ledger: Ledger) -> None:
    with pytest.raises(ItemError, match="image=embedded can't draw class 'watercolour', only photorealistic, "):
        made(ledger, facts={**FACTS, "class": "watercolour"})
