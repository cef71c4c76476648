"""What Pillow warns of while images are opened, from any thread."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from steps.library import pictures

OVER_PILLOWS_LIMIT = (10_000, 9_000)


def test_a_bomb_is_told_once_and_warns_of_nothing_in_threads_that_set_warnings_aside() -> None:
    buffer = io.BytesIO()
    Image.new("1", OVER_PILLOWS_LIMIT).save(buffer, "PNG")
    assert Image.MAX_IMAGE_PIXELS is not None
    assert OVER_PILLOWS_LIMIT[0] * OVER_PILLOWS_LIMIT[1] > Image.MAX_IMAGE_PIXELS

    def opened(_: int) -> str:
        with pytest.raises(pictures.UnreadablePicture) as caught:
            pictures.decode(buffer.getvalue(), "large.png")
        return str(caught.value)

    with ThreadPoolExecutor(4) as threads:
        said = set(threads.map(opened, range(32)))
    assert said == {"large.png is a decompression bomb: 10000 x 9000 pixels, over 64,000,000"}


def test_filters_of_others_stay_and_none_is_added_twice() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = list(warnings.filters)
        for _ in range(3):
            pictures.decode(buffer.getvalue(), "small.png")
        assert list(warnings.filters)[1:] == known
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
