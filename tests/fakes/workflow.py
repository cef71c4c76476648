"""ComfyUI's workflows in API format: what the worker refuses, and what it would draw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.drawing import Drawing

_SAVING = ("SaveImage", "PreviewImage")
_LATENTS = ("EmptySD3LatentImage", "EmptyLatentImage")
# Where a node that only passes a prompt on has it from.
_PASSED_ON = ("conditioning", "guider", "positive")
Node = Mapping[str, Any]


class BrokenWorkflow(Exception):
    """The worker would refuse it."""


@dataclass(frozen=True)
class Job:
    """What a workflow makes."""

    drawings: tuple[Drawing, ...]
    prefix: str


def read(workflow: Any, images: Sequence[str], checkpoints: Sequence[str]) -> Job:
    """What a workflow makes; BrokenWorkflow with all that is wrong.

    Args:
        workflow: Nodes by id.
        images: Names of the images sent with it.
        checkpoints: Those that the worker has.
    """
    if not isinstance(workflow, Mapping) or not workflow:
        raise BrokenWorkflow("Missing 'workflow' parameter")
    wrong = [fault for number, node in workflow.items() for fault in _wrong(number, node, workflow)]
    wrong = wrong or [
        fault for number, node in workflow.items() for fault in _unknown(number, node, images, checkpoints)
    ]
    if wrong:
        raise BrokenWorkflow("Workflow validation failed:\n" + "\n".join(f"• {fault}" for fault in wrong))
    saving = [node for node in workflow.values() if node["class_type"] in _SAVING]
    if not saving:
        raise BrokenWorkflow("Workflow validation failed: Prompt has no outputs")
    return Job(_drawings(workflow), str(saving[0]["inputs"].get("filename_prefix", "ComfyUI")))


def _wrong(number: str, node: Any, workflow: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(node, Mapping) or "class_type" not in node or not isinstance(node.get("inputs"), Mapping):
        yield f"Node {number}: has no class_type or inputs"
        return
    for name, value in node["inputs"].items():
        if isinstance(value, list) and not _is_link(value, workflow):
            yield f"Node {number} ({name}): links to {value}, which is not there"


def _is_link(value: Sequence[Any], workflow: Mapping[str, Any]) -> bool:
    return len(value) == 2 and isinstance(value[0], str) and value[0] in workflow and isinstance(value[1], int)


def _unknown(number: str, node: Node, images: Sequence[str], checkpoints: Sequence[str]) -> Iterator[str]:
    checkpoint, image = node["inputs"].get("ckpt_name"), node["inputs"].get("image")
    if node["class_type"] == "CheckpointLoaderSimple" and checkpoint not in checkpoints:
        yield f"Node {number} (ckpt_name): '{checkpoint}' not in {list(checkpoints)}"
    if node["class_type"] == "LoadImage" and image not in images:
        yield f"Node {number} (image): Invalid image file: {image}"


def _drawings(workflow: Mapping[str, Node]) -> tuple[Drawing, ...]:
    samplers = [
        node for node in workflow.values() if "Sampler" in node["class_type"] and "latent_image" in node["inputs"]
    ]
    if not samplers:
        raise BrokenWorkflow("Workflow validation failed: nothing samples")
    inputs = samplers[0]["inputs"]
    latent = _latent(workflow, inputs["latent_image"])
    seed, prompt = _seed(workflow, inputs), _prompt(workflow, samplers[0], set())
    count = int(latent.get("batch_size", 1))
    return tuple(Drawing(prompt, latent["width"], latent["height"], (seed + each) % 2**31) for each in range(count))


def _latent(workflow: Mapping[str, Node], link: Sequence[Any]) -> Mapping[str, Any]:
    node = workflow[link[0]]
    inputs: Mapping[str, Any] = node["inputs"]
    if node["class_type"] not in _LATENTS or not all(_is_side(inputs.get(side)) for side in ("width", "height")):
        raise BrokenWorkflow(f"Workflow validation failed: Node {link[0]} gives no latent image of a size")
    return inputs


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and 16 <= value <= 16384


def _seed(workflow: Mapping[str, Node], inputs: Mapping[str, Any]) -> int:
    noise = workflow[inputs["noise"][0]]["inputs"] if isinstance(inputs.get("noise"), list) else inputs
    seed = noise.get("seed", noise.get("noise_seed"))
    if not isinstance(seed, int) or seed < 0:
        raise BrokenWorkflow(f"Workflow validation failed: the seed is {seed!r}")
    return seed


def _prompt(workflow: Mapping[str, Node], node: Node, passed: set[int]) -> str:
    """Follow the positive prompt back to its text; `passed` holds the nodes on the way, against circles."""
    if node["class_type"] == "CLIPTextEncode":
        return str(node["inputs"].get("text", ""))
    for name in reversed(_PASSED_ON):
        link = node["inputs"].get(name)
        if isinstance(link, list) and id(workflow[link[0]]) not in passed:
            return _prompt(workflow, workflow[link[0]], {*passed, id(node)})
    raise BrokenWorkflow("Workflow validation failed: no CLIPTextEncode feeds the sampler's positive prompt")


def file_name(prefix: str, number: int) -> str:
    """As SaveImage names it."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', prefix)}_{number + 1:05d}_.png"
