"""The two FLUX models on Replicate: their inputs, and the images that these ask for."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from PIL import Image

from tests.fakes.drawing import Drawing, seed_of

_RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21", "2:1", "1:2"]
_SEED = {"type": "integer"}
_PIXELS = 1024 * 1024
Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Model:
    """A model: JSON Schema of its input, the field that takes an image, and whether its output is a list."""

    schema: Mapping[str, Any]
    image_field: str
    listed: bool

    def faults(self, given: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What the vendor refuses: field and why."""
        found = [_told(error) for error in Draft202012Validator(self.schema).iter_errors(given)]
        if given.get(self.image_field) and given.get("safety_tolerance", 0) > 2:
            found.append(("safety_tolerance", "Safety tolerance must be at most 2 when an input image is used"))
        return found

    def drawings(self, given: Mapping[str, Any], number: int, fetch: Fetch) -> list[Drawing]:
        """What is to be drawn; OSError when the input image can't be read. `number` stands in for chance."""
        defaults = {name: each.get("default") for name, each in self.schema["properties"].items()}
        values = {**defaults, **given}
        width, height = self._size(values, fetch)
        by_chance = values.get("seed") is None or bool(values.get("go_fast"))
        seed = (int(values.get("seed") or 0) + (seed_of(f"{number}") if by_chance else 0)) % 2**31
        kind = str(values["output_format"]).replace("jpg", "jpeg")
        count = int(values.get("num_outputs", 1))
        return [Drawing(values["prompt"], width, height, (seed + each) % 2**31, kind) for each in range(count)]

    def _size(self, values: Mapping[str, Any], fetch: Fetch) -> tuple[int, int]:
        image, ratio = values.get(self.image_field), str(values["aspect_ratio"])
        shape = _shape(fetch(image)) if image else (1, 1)
        across, down = shape if ratio == "match_input_image" else (int(side) for side in ratio.split(":"))
        pixels = _PIXELS * float(values.get("megapixels") or 1)
        return _to_16((pixels * across / down) ** 0.5), _to_16((pixels * down / across) ** 0.5)


def data_of(url: str) -> bytes:
    """The bytes in a data URL; OSError if there are none."""
    head, _, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise OSError(f"can't be read as a file: {url[:40]}")
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise OSError("the data URL is not base64") from error


def _shape(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def _to_16(pixels: float) -> int:
    return max(16, round(pixels / 16) * 16)


def _told(error: ValidationError) -> tuple[str, str]:
    field = str(error.absolute_path[0]) if error.absolute_path else ""
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return missing, f"{missing} is required"
    if isinstance(error.validator_value, list):
        listed = ", ".join(f'"{each}"' for each in error.validator_value)
        return field, f"{field} must be one of the following: {listed}"
    return field, error.message


MODELS: Mapping[str, Model] = {
    "black-forest-labs/flux-kontext-pro": Model(
        schema={
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "prompt": {"type": "string"},
                "input_image": {"type": ["string", "null"]},
                "aspect_ratio": {"enum": ["match_input_image", *_RATIOS], "default": "match_input_image"},
                "output_format": {"enum": ["jpg", "png"], "default": "png"},
                "safety_tolerance": {"type": "integer", "minimum": 0, "maximum": 6},
                "prompt_upsampling": {"type": "boolean", "default": False},
                "seed": _SEED,
            },
        },
        image_field="input_image",
        listed=False,
    ),
    "black-forest-labs/flux-dev": Model(
        schema={
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "prompt": {"type": "string"},
                "image": {"type": ["string", "null"]},
                "aspect_ratio": {"enum": _RATIOS, "default": "1:1"},
                "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 50, "default": 28},
                "guidance": {"type": "number", "minimum": 0, "maximum": 10, "default": 3},
                "num_outputs": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
                "output_format": {"enum": ["webp", "jpg", "png"], "default": "webp"},
                "output_quality": {"type": "integer", "minimum": 0, "maximum": 100, "default": 80},
                "megapixels": {"enum": ["1", "0.25"], "default": "1"},
                "go_fast": {"type": "boolean", "default": True},
                "prompt_strength": {"type": "number", "minimum": 0, "maximum": 1},
                "disable_safety_checker": {"type": "boolean", "default": False},
                "seed": _SEED,
            },
        },
        image_field="image",
        listed=True,
    ),
}
