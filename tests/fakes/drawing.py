"""The images that the servers make: portraits drawn from the prompt, so that the same prompt and seed give the same bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

_WEARING = " Wearing: "


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn; `kind` is png, jpeg or webp."""

    prompt: str
    width: int
    height: int
    seed: int
    kind: str = "png"


Painter = Callable[[Drawing], bytes]


@lru_cache(maxsize=64)
def portrait(drawing: Drawing) -> bytes:
    """A studio portrait of what the prompt says."""
    from steps.studio.portrait import studio_portrait

    description, outfit = described(drawing.prompt)
    return encoded(studio_portrait(description, outfit, (drawing.width, drawing.height), drawing.seed), drawing.kind)


def plain(drawing: Drawing) -> bytes:
    """One colour, by prompt and seed: quick, for tests that look at no pixels."""
    digest = hashlib.sha256(f"{drawing.prompt} {drawing.seed}".encode()).digest()
    return encoded(Image.new("RGB", (drawing.width, drawing.height), (digest[0], digest[1], digest[2])), drawing.kind)


def described(prompt: str) -> tuple[str, str]:
    """Description and outfit out of a prompt as steps/plan.py fills it in; of any other prompt all is description."""
    from steps.plan import PROMPT

    text = " ".join(prompt.split()).removeprefix(" ".join(PROMPT.partition("{description}")[0].split()))
    description, found, outfit = text.rpartition(_WEARING)
    return (description.strip(), outfit.strip()) if found else (text.strip(), "")


def seed_of(prompt: str) -> int:
    """A seed for vendors that take none."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") >> 1


def encoded(image: Image.Image, kind: str) -> bytes:
    """As a file of a kind."""
    buffer = io.BytesIO()
    image.save(buffer, {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG", "webp": "WEBP"}[kind], compress_level=1)
    return buffer.getvalue()


PAINTERS: dict[str, Painter] = {"portrait": portrait, "plain": plain}


def painter(choice: str | Painter) -> Painter:
    """By name, or a test's own."""
    return PAINTERS[choice] if isinstance(choice, str) else choice
