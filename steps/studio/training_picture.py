"""Training images of one character, as photographs, ink drawings or comics, each as good or as poor as asked.

Nothing but the pixels tells class and quality. Photographs get what a camera and the world leave: light that falls off, texture at
all scales (amplitude falling with frequency, as Field, "Relations between the statistics of natural images and the response
properties of cortical cells", JOSA A 4, 1987, found it), a lens a little soft, and noise that grows with the light (Foi et al.,
"Practical Poissonian-Gaussian noise modeling", IEEE TIP 17, 2008). Drawings keep the flat paper and colours that they are made of.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from steps.studio.colours import RGB
from steps.studio.people import Character, seeded
from steps.studio.wording import read
from steps.studio.world import FACINGS, GESTURES, PLACES, SHOTS, STYLES, Scene, Shot, draw

Floats = NDArray[np.float32]

CLASSES = STYLES
BEST = 10
MISSES = 0.05
"""The share of `ordered_picture`s that come out wrong, half of another class, half poor: makers of images aren't always right."""
# By what a description calls them: people have the skin that it tells of, others one of these.
_TINTS: Mapping[str, tuple[RGB, ...]] = {
    "robot": ((166, 174, 184), (148, 158, 172), (186, 178, 160)),
    "creature": ((112, 168, 108), (98, 150, 176), (150, 118, 176), (178, 108, 92)),
}
_KINDS_OF_BEINGS = {
    "robot": re.compile(r"\b(robot|android|automaton|machine)s?\b", re.IGNORECASE),
    "creature": re.compile(r"\b(creature|goblin|troll|imp|ogre|lizard\w*|spirit|being)s?\b", re.IGNORECASE),
}
# What a prompt may say of place, shot and pose; the first that it names counts.
_PLACES = {
    "market": r"market|street|bazaar|stall|caf[eé]|shop|station|crowd",
    "snow": r"snow\w*|winter|ice|frost\w*",
    "desert": r"desert|dune\w*|sand\w*|beach|cliff\w*",
    "night": r"night|moonlight|moonlit|stars?|starlit|dark|lantern\w*|neon",
    "yurt": r"yurt|indoors|room|kitchen|fire|hearth|interior|workshop|library",
    "steppe": r"steppe|meadow|field|hill\w*|grass\w*|garden|forest|river|rain|mountain\w*",
    "studio": r"studio|plain|backdrop|blank",
}
_SHOTS = {
    "portrait": r"portrait|close-up",
    "half": r"half-length|waist|medium|chest",
    "full": r"full-length|full-body|full figure|head to toe|whole figure|wide",
}
_GESTURES = {
    "waving": r"wav(?:es|ing)|greet\w*|raised hand|calling",
    "sitting": r"sit\w*|seated|cross-legged|resting",
    "riding": r"rid(?:es|ing)|horseback",
    "akimbo": r"hands on (?:the )?hips|confident|proud\w*",
    "standing": r"stand\w*|walk\w*|turning",
}


@dataclass(frozen=True)
class OtherBeing(Character):
    """Somebody who is no human: built and dressed like one, with a hide or a casing of another colour."""

    hide: RGB = (112, 168, 108)

    @property
    def skin_rgb(self) -> RGB:
        """The hide's colour."""
        return self.hide


def figure_of(description: str, outfit: str) -> Character:
    """Who is described, with the face that goes with these words: the same in every picture."""
    who = read(description, outfit)
    kind = being_of(description)
    if kind == "human":
        return who
    return OtherBeing(**asdict(who), hide=seeded(f"hide {who.face_seed}").choice(_TINTS[kind]))


def being_of(description: str) -> str:
    """human, creature or robot."""
    return next((kind for kind, words in _KINDS_OF_BEINGS.items() if words.search(description)), "human")


def training_picture(
    who: Character,
    kind: str,
    *,
    seed: int,
    quality: int = BEST,
    size: tuple[int, int] = (1280, 720),
    prompt: str = "",
) -> Image.Image:
    """Draw a training image (RGB, `size` pixels wide and high): the same arguments give the same pixels.

    Args:
        who: The character.
        kind: One of CLASSES.
        seed: Draws scene, pose, light, ink, and what is wrong with a poor picture.
        quality: 1 (of no use) to 10. Below 9 the picture shows it: out of focus, moved, noisy, badly exposed, faded, pressed to blocks.
        size: 32 to 2048 pixels each way.
        prompt: Place, shot and pose that it names are taken; the others are drawn by the seed.

    Raises:
        ValueError: There is no such class or quality.
    """
    if not 1 <= quality <= BEST:
        raise ValueError(f"quality {quality} is not 1 to {BEST}")
    rng = seeded(f"training picture {seed}")
    scene = Scene(_named(_PLACES, prompt) or rng.choice(PLACES), rng.randrange(2**31))
    shot = Shot(
        _named(_SHOTS, prompt) or rng.choice(SHOTS),
        _named(_GESTURES, prompt) or rng.choice(GESTURES),
        rng.choice(FACINGS),
        rng.uniform(-0.7, 0.7),
        rng.uniform(-1, 1),
    )
    image = draw(who, scene, shot, size=size, seed=rng.randrange(2**31), style=kind)
    finish = {"photorealistic": _photographed, "bw_stylized": _inked, "color_stylized": _printed}[kind]
    return _spoilt(finish(image, rng), kind, quality, rng)


def ordered_picture(
    who: Character, kind: str, *, prompt: str = "", size: tuple[int, int] = (1280, 720), seed: int = 0
) -> Image.Image:
    """What comes of ordering a good training image, for arguments as `training_picture`'s: one in twenty is not what was ordered."""
    rng = seeded(f"order {kind} {seed} {prompt}")
    quality = rng.randint(BEST - 2, BEST)
    if rng.random() < MISSES:
        if rng.random() < 0.5:
            kind = rng.choice([other for other in CLASSES if other != kind])
        else:
            quality = rng.randint(1, 2)
    return training_picture(who, kind, seed=seed, quality=quality, size=size, prompt=prompt)


def _named(words: Mapping[str, str], prompt: str) -> str | None:
    """The key whose words stand first in a prompt; None where none does."""
    found = {key: re.search(rf"\b(?:{pattern})\b", prompt, re.IGNORECASE) for key, pattern in words.items()}
    places = {key: match.start() for key, match in found.items() if match is not None}
    return min(places, key=places.__getitem__, default=None)


def _photographed(image: Image.Image, rng: random.Random) -> Image.Image:
    """What light, surfaces, lens and sensor make of a shaded scene."""
    light = (np.asarray(image, dtype=np.float32) / 255) ** np.float32(2.2)
    fall = 0.55 * _field(image.size, 1.9, rng) + 0.5 * _slope(image.size, rng)
    surface = 0.15 * _field(image.size, 1.0, rng)
    light *= np.exp(0.36 * fall + surface)[:, :, None]
    light *= np.array([rng.uniform(0.93, 1.07), 1.0, rng.uniform(0.93, 1.07)], dtype=np.float32)
    # Exposed for the highlights, which roll off on a shoulder as film's and do not clip.
    light *= np.float32(rng.uniform(0.75, 1.0) / max(0.2, float(np.quantile(light[::4, ::4], 0.98))))
    light *= 1.25 / (1 + 0.25 * light)
    soft = Image.fromarray(_levels(light.astype(np.float32, copy=False))).filter(
        ImageFilter.GaussianBlur(image.height * 0.0011 + 0.15)
    )
    return _sensed(soft, rng.uniform(0.6, 1.4), rng)


def _sensed(image: Image.Image, gain: float, rng: random.Random) -> Image.Image:
    """With a sensor's noise: it grows with the root of the light, and neighbours share some of it."""
    values = np.asarray(image, dtype=np.float32)
    draws = np.random.default_rng(rng.randrange(2**32))
    grey = draws.standard_normal(values.shape[:2], dtype=np.float32)[:, :, None]
    colour = draws.standard_normal((*(-(-side // 2) for side in values.shape[:2]), 3), dtype=np.float32)
    coarse = colour.repeat(2, axis=0).repeat(2, axis=1)[: values.shape[0], : values.shape[1]]
    spread = gain * (0.6 + 0.1 * np.sqrt(values))
    return Image.fromarray(np.clip(values + spread * (grey + 0.45 * coarse), 0, 255).astype(np.uint8))


def _inked(image: Image.Image, rng: random.Random) -> Image.Image:
    """As it is on paper, which is not always white, with ink that is not always black."""
    black, white = rng.randrange(0, 28), rng.randrange(238, 256)
    table = [round(black + (white - black) * value / 255) for value in range(256)]
    return image.convert("L").point(table).convert("RGB")


def _printed(image: Image.Image, rng: random.Random) -> Image.Image:
    """In as many flat colours as a printer or a painter of cels has, chosen so that small things keep theirs."""
    flat = image.quantize(rng.choice((20, 28, 40, 64)), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return flat.convert("RGB")


def _spoilt(image: Image.Image, kind: str, quality: int, rng: random.Random) -> Image.Image:
    """Out of focus the more the poorer, and with one other fault."""
    fault = rng.choice(_FAULTS[kind])
    amount = max(0, BEST - 1 - quality) / (BEST - 2)
    if amount == 0:
        return image
    radius = image.height * (0.0022 + 0.0105 * amount)
    return _SPOILING[fault](image.filter(ImageFilter.GaussianBlur(radius)), amount, rng)


def _moved(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    reach = image.height * 0.014 * amount
    return image.filter(ImageFilter.BoxBlur(rng.choice(((reach, 0), (0, reach)))))


def _noisy(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    return _sensed(image, 1 + 7 * amount, rng)


def _dark(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    factor = 1 - (0.8 + 0.05 * rng.random()) * amount
    return image.point([round(factor * value) for value in range(256)] * 3)


def _burnt(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    factor = 1 + (2.4 + 0.6 * rng.random()) * amount
    return image.point([min(255, round(factor * value)) for value in range(256)] * 3)


def _faded(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    paper = rng.randrange(190, 226)
    share = 0.82 * amount
    return image.point([round(value + (paper - value) * share) for value in range(256)] * 3)


def _enlarged(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    share = (0.5 + 0.1 * rng.random()) / (1 + 3.2 * amount)
    small = image.resize(
        (max(8, round(image.width * share)), max(8, round(image.height * share))), Image.Resampling.BOX
    )
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _pressed(image: Image.Image, amount: float, rng: random.Random) -> Image.Image:
    """Sent around, small and saved so poorly that its blocks show."""
    share, buffer = 1 / (1 + 1.6 * amount), io.BytesIO()
    small = image.resize(
        (max(8, round(image.width * share)), max(8, round(image.height * share))), Image.Resampling.BOX
    )
    small.save(buffer, "JPEG", quality=max(7, round(rng.uniform(34, 40) * (1 - amount))))
    return Image.open(buffer, formats=("JPEG",)).convert("RGB").resize(image.size, Image.Resampling.BILINEAR)


_SPOILING: Mapping[str, Callable[[Image.Image, float, random.Random], Image.Image]] = {
    "moved": _moved,
    "noisy": _noisy,
    "dark": _dark,
    "burnt": _burnt,
    "faded": _faded,
    "enlarged": _enlarged,
    "pressed": _pressed,
}
_FAULTS: Mapping[str, Sequence[str]] = {
    "photorealistic": ("moved", "noisy", "dark", "burnt", "enlarged", "pressed"),
    "bw_stylized": ("faded", "enlarged", "pressed"),
    "color_stylized": ("faded", "enlarged", "pressed"),
}


def _levels(light: Floats) -> NDArray[np.uint8]:
    """Linear light (H, W, 3), 1 is white, as levels."""
    return (255 * np.clip(light, 0, 1) ** np.float32(1 / 2.2)).astype(np.uint8)


def _slope(size: tuple[int, int], rng: random.Random) -> Floats:
    """Light that falls off to one side: (H, W) in about -1..1."""
    y, x = np.ogrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    slope: Floats = (rng.choice((-1, 1)) * rng.uniform(0.3, 1) * x - rng.uniform(0, 0.6) * y).astype(np.float32)
    return slope


def _field(size: tuple[int, int], power: float, rng: random.Random) -> Floats:
    """Noise (H, W) of mean 0 and deviation 1 whose amplitude falls with frequency to `power`, another for each draw."""
    whole = _noise(size, power)
    return np.roll(whole, (rng.randrange(size[1]), rng.randrange(size[0])), axis=(0, 1))[:: rng.choice((-1, 1))]


@lru_cache(maxsize=8)
def _noise(size: tuple[int, int], power: float) -> Floats:
    """One such noise, without seams: what is beyond an edge stands at the other."""
    width, height = size
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    # Pixels are as far apart either way; the mean has no amplitude.
    frequency = np.maximum(np.hypot(down, across), 0.5 / max(size))
    spectrum = np.fft.rfft2(np.random.default_rng(11).standard_normal((height, width))) / frequency**power
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(height, width))
    scaled: Floats = (field / field.std()).astype(np.float32)
    return scaled
