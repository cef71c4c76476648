"""The colours that the drawn world and its judge share: basic names, what people call them, and the nearest name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

RGB = tuple[int, int, int]

COLOURS: Mapping[str, RGB] = MappingProxyType(
    {
        "black": (34, 34, 38),
        "grey": (128, 130, 134),
        "white": (240, 238, 232),
        "red": (200, 44, 44),
        "maroon": (118, 28, 42),
        "orange": (232, 126, 36),
        "yellow": (242, 204, 60),
        "gold": (204, 160, 48),
        "olive": (122, 124, 54),
        "green": (52, 138, 74),
        "teal": (34, 142, 146),
        "blue": (46, 98, 196),
        "navy": (32, 46, 96),
        "purple": (122, 62, 156),
        "pink": (232, 138, 168),
        "brown": (118, 78, 48),
        "beige": (214, 190, 150),
    }
)

HAIR_COLOURS: Mapping[str, RGB] = MappingProxyType(
    {
        "black": (36, 32, 34),
        "dark brown": (66, 44, 32),
        "brown": (112, 72, 42),
        "blonde": (220, 182, 96),
        "red": (178, 78, 34),
        "grey": (142, 142, 146),
        "white": (230, 228, 224),
    }
)

SKIN_COLOURS: Mapping[str, RGB] = MappingProxyType(
    {
        "very fair": (250, 220, 200),
        "fair": (240, 200, 170),
        "light olive": (226, 180, 142),
        "tan": (206, 154, 112),
        "brown": (158, 106, 72),
        "dark brown": (112, 72, 50),
        "deep": (80, 52, 40),
    }
)

EYE_COLOURS: Mapping[str, RGB] = MappingProxyType(
    {
        "brown": (92, 56, 30),
        "dark": (44, 32, 28),
        "blue": (72, 128, 190),
        "green": (84, 138, 88),
        "grey": (120, 132, 142),
        "hazel": (140, 104, 52),
    }
)

_GROUPS: Mapping[str, str] = {
    "black": "jet ebony onyx obsidian raven sable inky",
    "grey": "gray ash ashen slate charcoal silver silvery steel pewter graphite smoky gunmetal heather greyish grayish",
    "white": "ivory cream snow snowy pearl alabaster milky off-white whitish bleached",
    "red": "crimson scarlet ruby vermilion cherry cardinal poppy reddish",
    "maroon": "burgundy wine claret oxblood garnet bordeaux",
    "orange": "tangerine apricot amber coral peach saffron pumpkin rust rusty terracotta copper",
    "yellow": "lemon canary sunny daffodil yellowish",
    "gold": "golden mustard ochre brass brassy honey bronze",
    "olive": "khaki moss drab camouflage camo army-green",
    "green": "emerald jade lime mint forest sage viridian pine greenish fern",
    "teal": "turquoise cyan aqua aquamarine petrol",
    "blue": "azure cobalt sapphire cerulean denim royal sky-blue indigo-blue bluish ultramarine",
    "navy": "midnight indigo navy-blue",
    "purple": "violet lilac lavender plum mauve magenta aubergine eggplant amethyst",
    "pink": "rose rosy fuchsia salmon blush pinkish",
    "brown": "chocolate chestnut coffee walnut mahogany umber sienna hazel auburn mocha brunette cocoa leather",
    "beige": "tan sand sandy camel fawn taupe ecru linen buff nude oatmeal straw wheat",
}

SYNONYMS: Mapping[str, str] = MappingProxyType(
    {word: name for name, words in _GROUPS.items() for word in words.split()}
)
"""What people say -> a key of COLOURS; single lower-case words, some with a hyphen."""

HAIR_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("blond", "fair", "golden", "gold", "yellow", "honey", "sandy", "flaxen", "straw"), "blonde"),
        **dict.fromkeys(("ginger", "auburn", "copper", "redhead", "strawberry", "rust", "orange", "red-haired"), "red"),
        **dict.fromkeys(("brunette", "chestnut", "hazel", "chocolate", "walnut", "mousy", "light-brown"), "brown"),
        **dict.fromkeys(("jet", "raven", "ebony", "dark", "dark-haired"), "black"),
        **dict.fromkeys(("gray", "silver", "silvery", "greying", "graying", "ash", "salt-and-pepper"), "grey"),
        **dict.fromkeys(("snowy", "snow", "platinum", "ivory"), "white"),
    }
)
"""What people say of hair -> a key of HAIR_COLOURS."""


def to_lab(rgb: RGB) -> tuple[float, float, float]:
    """CIELAB of an sRGB colour under D65 (IEC 61966-2-1 and CIE 15, section 8.2.1)."""
    red, green, blue = (_linear(channel / 255) for channel in rgb)
    x = _lightness((0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047)
    y = _lightness(0.2126729 * red + 0.7151522 * green + 0.0721750 * blue)
    z = _lightness((0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def name_of(rgb: RGB, palette: Mapping[str, RGB] = COLOURS) -> str:
    """The palette's name that is nearest in CIELAB."""
    lab = to_lab(rgb)
    return min(palette, key=lambda name: sum((a - b) ** 2 for a, b in zip(lab, _lab_of(palette[name]), strict=True)))


@cache
def _lab_of(rgb: RGB) -> tuple[float, float, float]:
    return to_lab(rgb)


def _linear(value: float) -> float:
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)


def _lightness(ratio: float) -> float:
    return float(ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116)
