"""What a storyboard is asked for with, and the storyboards that follow from it: one for each combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.params import a_path, at_least, between, one_of, param
from steps import storytelling
from steps.library.shots import FACINGS, SHOTS
from steps.library.stories import GESTURES, MOST_SCENES
from steps.studio.frames import setups
from steps.studio.frames.setups import WITH_LORA, WITH_REFERENCE

FRAME_1, TRAINING = "frame_1", "training"


def _texts(value: Any) -> str | None:
    listed = value if isinstance(value, list) else [value]
    good = value is None or (listed and all(isinstance(text, str) and text.strip() for text in listed))
    return None if good else "give a story, or a list of them: names, YAML files, or tales in prose"


def _a_name(value: str | None) -> str | None:
    return None if value is None or value.strip() else "give a name"


def _modes(value: Any) -> str | None:
    return "give at least one mode" if value == [] else one_of(*setups.MODES)(value)


def _numbers(value: Any) -> str | None:
    listed = value if isinstance(value, list) else [value]
    good = value is None or (listed and all(type(number) is int and 0 <= number < 2**31 for number in listed))
    return None if good else "give a number from 0 to 2147483647, or a list of them"


def _scale(value: Any) -> str | None:
    listed = value if isinstance(value, list) else [value]
    good = listed and all(type(number) in (int, float) and 0 <= number <= 2 for number in listed)
    return None if good else "give a number from 0 to 2, or a list of them"


def _pixels(value: int | None) -> str | None:
    return None if value is None or (value >= 8 and value % 8 == 0) else "give a multiple of 8"


@dataclass(frozen=True)
class StoryboardParams:
    """Which stories, drawn how, and what passes."""

    story: Any = param(
        None,
        help="the name of a shipped story, the path of a YAML file, or a tale in prose; or a list of these",
        check=_texts,
    )
    prompt: str | None = param(
        None, help="instead of a story, one frame from this prompt; {who} in it becomes the trigger"
    )
    shot: str = param("half", help="of a prompt's frame, for its pose", check=one_of(*SHOTS))
    gesture: str = param("standing", help="of a prompt's frame, for its pose", check=one_of(*GESTURES))
    facing: str = param("front", help="of a prompt's frame, for its pose", check=one_of(*FACINGS))
    mode: Any = param(
        setups.SIMPLE,
        help="baseline: no LoRA; simple: LoRA; adapter: IP-Adapter, no LoRA; reference: LoRA, from frame 2 on with frame 1's face "
        "and a pose; or a list of these",
        check=_modes,
    )
    seed: Any = param(None, help="all noise comes from it; null is the recipe's; or a list", check=_numbers)
    lora: str | None = param(
        None, help="folder or .safetensors file of the LoRA; modes without one need none", check=a_path
    )
    trigger: str = param(
        "Aldar Kose", help="what prompts call the character: the LoRA's trigger word, perhaps with a noun"
    )
    character: str | None = param(
        None, help="what results call the character, where several are compared; null is the trigger", check=_a_name
    )
    hero: str | None = param(None, help="what a tale in prose calls its hero; null is the trigger")
    reference: str | None = param(
        None,
        help="the face that the adapter is given: an image, 'training' (the first training image with a face) or 'frame_1'; null is "
        "frame_1 in mode reference, and in mode adapter training, or frame_1 where no training image is",
        check=a_path,
    )
    training: str | None = param(
        None,
        help="folder with images, captions and split.json that 'training' is taken from; null is DATA",
        check=a_path,
    )
    least: int = param(storytelling.LEAST, help="scenes of a tale, at least", check=between(1, MOST_SCENES))
    most: int = param(storytelling.MOST, help="scenes of a tale, at most", check=between(1, MOST_SCENES))
    count: int | None = param(
        None, help="scenes of a tale, exactly; null lets the model choose", check=between(1, MOST_SCENES)
    )
    steps: int | None = param(None, help="sampling steps; null is the model's", check=at_least(1))
    guidance: float | None = param(None, help="guidance scale; null is the model's", check=at_least(0))
    width: int | None = param(None, help="pixels; null is the model's", check=_pixels)
    height: int | None = param(None, help="pixels; null is the model's", check=_pixels)
    negative: str = param("", help="what is not wanted, in words")
    lora_scale: Any = param(1.0, help="how strongly the LoRA tells, 0 to 2; 0 is off; or a list", check=_scale)
    adapter_scale: Any = param(0.6, help="how strongly the reference tells, 0 to 2; 0 is off; or a list", check=_scale)
    control_scale: float = param(0.7, help="how strongly the pose tells; 0 is off", check=between(0, 2))
    threshold: float | None = param(
        None,
        help="CLIPScore, 2.5 x cosine, from which on a frame passes; null is the CLIP backend's",
        check=at_least(0),
    )
    # CLIP hardly tells smeared images from good ones: of twelve first frames of the embedded models drawn in one step 9 pass the
    # threshold, and 4 with this as well; of those drawn in 2 to 20 steps all pass both.
    face_score: float = param(
        0.7,
        help="how sure the face detector must be of the face in frame 1 for it to pass, 0 to 1",
        check=between(0, 1),
    )
    retries: int = param(2, help="attempts beyond the first at a frame that does not pass", check=between(0, 20))
    batch: int = param(10, help="frames at once; fewer where memory does not suffice", check=at_least(1))


@dataclass(frozen=True)
class Take:
    """One storyboard to be made.

    Attributes:
        key: Its name among the run's storyboards.
        name: The story's name in this run.
        told: What was given: a name, a path, or a tale; None for the prompt.
        mode: One of `setups.MODES`.
        seed: All noise comes from it.
        lora_scale: How strongly the LoRA tells; None in a mode without one.
        adapter_scale: How strongly the reference tells; None in a mode without one.
    """

    key: str
    name: str
    told: str | None
    mode: str
    seed: int
    lora_scale: float | None
    adapter_scale: float | None


def takes(params: StoryboardParams, named: Sequence[tuple[str, str | None]], seed: int) -> Iterator[Take]:
    """Every combination; a scale counts only for the modes that have the part.

    Args:
        params: Say the modes, seeds and scales.
        named: Each story's name, and what was given.
        seed: The recipe's, where the parameters say none.
    """
    seeds = [seed if each is None else each for each in listed(params.seed)]
    for (name, told), mode, number in itertools.product(named, listed(params.mode), seeds):
        loras = _scales(params.lora_scale, "lora", has=mode in WITH_LORA)
        adapters = _scales(params.adapter_scale, "adapter", has=mode in WITH_REFERENCE)
        for (lora, said), (adapter, also) in itertools.product(loras, adapters):
            yield Take(f"{name}-{mode}-{number}{said}{also}", name, told, mode, number, lora, adapter)


def listed(value: Any) -> list[Any]:
    """A value, or those of a list, each once."""
    return list(dict.fromkeys(value)) if isinstance(value, list) else [value]


def _scales(value: Any, name: str, *, has: bool) -> list[tuple[float | None, str]]:
    """Each scale, and what it adds to a storyboard's key: nothing where there is only one."""
    if not has:
        return [(None, "")]
    numbers = listed([float(number) for number in listed(value)])
    return [(number, f"-{name}{number:.10g}" if len(numbers) > 1 else "") for number in numbers]
