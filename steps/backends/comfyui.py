"""ComfyUI's workflows in API format: checked, and filled in without a mark by hand.

A workflow goes in as ComfyUI exports it (Workflow > Export (API)). Where a request's values belong is found from the sampler backwards:

* sampler: the node with "Sampler" in its class whose `latent_image` comes from no other sampler (a later pass is left alone).
* prompt: from its `positive` (or `guider`), along `conditioning`, to the first node with a text; a CLIPTextEncodeFlux gets it in both fields.
* seed: its `seed` or `noise_seed`, or that of its `noise` node.
* steps: its `steps`, or those of its `sigmas` node.
* width and height: along `latent_image` and `samples` to the node that has both; a latent that is encoded from an image has its size.
* guidance: the first `guidance` on the way to the prompt.
* reference image: the one LoadImage node, if there is one.

A value that is itself a link (a seed or text node of its own) is followed to where it stands.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from runner.errors import MisconfiguredRun

MAX_BYTES = 1_000_000
SHIPPED = "workflows/flux_dev.json"
TO_PROMPT = ("guider", "positive", "conditioning", "conditioning_to", "conditioning_1")
TO_LATENT = ("latent_image", "samples", "latent")
TEXTS = ("text", "clip_l", "t5xxl", "text_g", "text_l", "prompt")
SEEDS = ("seed", "noise_seed")
# What nodes that hold one value call it.
VALUES = ("value", "text", "string", "prompt", "seed", "noise_seed", "int", "number")
Node = Mapping[str, Any]


@dataclass(frozen=True)
class Slot:
    """An input of a node."""

    node: str
    name: str


@dataclass(frozen=True)
class Slots:
    """Where the values of a request go. Empty where the workflow has no place for one."""

    prompt: tuple[Slot, ...]
    seed: tuple[Slot, ...]
    steps: tuple[Slot, ...]
    width: tuple[Slot, ...]
    height: tuple[Slot, ...]
    guidance: tuple[Slot, ...]
    image: tuple[Slot, ...]
    batch_size: tuple[Slot, ...]


class Workflow:
    """A workflow that can be run.

    Attributes:
        slots: Where values go.
        digest: Of the whole workflow, 12 hexadecimal digits; how the file is set out does not matter.
    """

    def __init__(self, nodes: Mapping[str, Node], slots: Slots) -> None:
        self._nodes = nodes
        self.slots = slots
        text = json.dumps(nodes, sort_keys=True, ensure_ascii=True)
        self.digest = hashlib.sha256(text.encode("ascii")).hexdigest()[:12]

    @classmethod
    def read(cls, path: str | None) -> Workflow:
        """From a file, or the one that ships.

        Raises:
            MisconfiguredRun: It is not there, no workflow in API format, or a value's place is not found in it.
        """
        where = path or SHIPPED
        nodes = _checked(_parsed(path, where), where)
        return cls(nodes, _Finder(nodes, where).slots())

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The workflow with values in the slots of their names; what is None stays as the file has it."""
        filled = copy.deepcopy(dict(self._nodes))
        for name, value in values.items():
            for slot in getattr(self.slots, name) if value is not None else ():
                filled[slot.node]["inputs"][slot.name] = value
        return filled

    def title(self, slot: Slot) -> str:
        """A node as errors name it."""
        return _title(self._nodes, slot.node)


class _Finder:
    """Walks a workflow backwards from its sampler."""

    def __init__(self, nodes: Mapping[str, Node], where: str) -> None:
        self._nodes = nodes
        self._where = where

    def slots(self) -> Slots:
        sampler = self._sampler()
        latent = self._latent(sampler)
        return Slots(
            prompt=self._needed("prompt", sampler, TO_PROMPT, TEXTS),
            seed=self._needed("seed", sampler, ("noise",), SEEDS),
            steps=self._needed("steps", sampler, ("sigmas",), ("steps",)),
            width=self._slots(latent, ("width",)),
            height=self._slots(latent, ("height",)),
            guidance=self._found(sampler, TO_PROMPT, ("guidance",)),
            image=self._image(),
            batch_size=self._slots(latent, ("batch_size",)),
        )

    def _sampler(self) -> str:
        samplers = [
            number
            for number, node in self._nodes.items()
            if "Sampler" in node["class_type"] and is_link(node["inputs"].get("latent_image"))
        ]
        first = [number for number in samplers if not any(other in samplers for other in self._rest(number, TO_LATENT))]
        if len(first) == 1:
            return first[0]
        listed = ", ".join(_title(self._nodes, number) for number in first) or "none"
        raise MisconfiguredRun(
            f"{self._where}: there must be one sampler that begins (a KSampler with a latent_image), and there are: {listed}"
        )

    def _latent(self, sampler: str) -> str | None:
        """The node whose width and height are the image's; None where the latent is encoded from an image."""
        chain = list(self._rest(sampler, TO_LATENT))
        sized = [number for number in chain if {"width", "height"} <= set(self._nodes[number]["inputs"])]
        if "pixels" in self._nodes[chain[-1]]["inputs"]:
            return None
        if not sized:
            raise MisconfiguredRun(
                f"{self._where}: {_title(self._nodes, chain[-1])} gives {_title(self._nodes, sampler)} its latent_image, "
                "and has no width and height"
            )
        return sized[-1]

    def _needed(self, what: str, start: str, through: Sequence[str], names: Sequence[str]) -> tuple[Slot, ...]:
        found = self._found(start, through, names)
        if found:
            return found
        way = " > ".join(_title(self._nodes, number) for number in self._chain(start, through))
        raise MisconfiguredRun(
            f"{self._where}: no place for the {what}: none of {', '.join(names)} is an input on the way {way}"
        )

    def _found(self, start: str, through: Sequence[str], names: Sequence[str]) -> tuple[Slot, ...]:
        """The inputs of these names in the first node of the way that has any."""
        for number in self._chain(start, through):
            if slots := self._slots(number, names):
                return slots
        return ()

    def _slots(self, number: str | None, names: Sequence[str]) -> tuple[Slot, ...]:
        if number is None:
            return ()
        inputs = self._nodes[number]["inputs"]
        return tuple(self._standing(Slot(number, name)) for name in names if name in inputs)

    def _standing(self, slot: Slot) -> Slot:
        """The slot, or where its value stands when it is a link."""
        seen = {slot}
        while is_link(value := self._nodes[slot.node]["inputs"][slot.name]):
            inputs = self._nodes[value[0]]["inputs"]
            following = next((Slot(value[0], name) for name in VALUES if name in inputs), None)
            if following is None or following in seen:
                raise MisconfiguredRun(
                    f"{self._where}: {slot.name} of {_title(self._nodes, slot.node)} comes from {_title(self._nodes, value[0])}, "
                    f"which has none of {', '.join(VALUES)}: type it in, or give that node one"
                )
            seen.add(following)
            slot = following
        return slot

    def _image(self) -> tuple[Slot, ...]:
        loading = [number for number, node in self._nodes.items() if node["class_type"] == "LoadImage"]
        if len(loading) > 1:
            listed = " and ".join(_title(self._nodes, number) for number in loading)
            raise MisconfiguredRun(f"{self._where}: {listed} load images: there is one reference image at most")
        return tuple(Slot(number, "image") for number in loading)

    def _rest(self, number: str, through: Sequence[str]) -> Iterator[str]:
        chain = self._chain(number, through)
        next(chain)
        return chain

    def _chain(self, number: str, through: Sequence[str]) -> Iterator[str]:
        """The nodes from one backwards along the first link of these names, itself included; a circle is walked once."""
        seen: set[str] = set()
        while number not in seen:
            yield number
            seen.add(number)
            inputs = self._nodes[number]["inputs"]
            link = next((inputs[name] for name in through if is_link(inputs.get(name))), None)
            if link is None:
                return
            number = link[0]


def is_link(value: object) -> bool:
    """Whether an input is another node's output: [node, number of the output]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def _parsed(path: str | None, where: str) -> Any:
    try:
        if path is None:
            return json.loads(resources.files("steps.backends").joinpath(SHIPPED).read_text("utf-8"))
        if not Path(path).is_file():
            raise MisconfiguredRun(f"workflow = {where}: can't be read: it is not a file")
        if Path(path).stat().st_size > MAX_BYTES:
            raise MisconfiguredRun(f"{where}: more than {MAX_BYTES:,} bytes are no workflow")
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise MisconfiguredRun(f"workflow = {where}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MisconfiguredRun(f"{where}: not JSON: {error}") from error


def _checked(value: Any, where: str) -> Mapping[str, Node]:
    if not isinstance(value, dict) or not value:
        raise MisconfiguredRun(f"{where}: a workflow is an object of nodes")
    if isinstance(value.get("nodes"), list):
        raise MisconfiguredRun(
            f"{where}: this is what ComfyUI saves for itself: export it for the API (Workflow > Export (API))"
        )
    for number, node in value.items():
        _check_node(number, node, where)
    for number, node in value.items():
        for name, item in node["inputs"].items():
            if is_link(item) and item[0] not in value:
                raise MisconfiguredRun(
                    f"{where}: {_title(value, number)}: {name} comes from node {item[0]}, which is not there"
                )
    if not any(node["class_type"].startswith("SaveImage") for node in value.values()):
        raise MisconfiguredRun(f"{where}: no SaveImage node: nothing would come back")
    return value


def _check_node(number: str, node: Any, where: str) -> None:
    whole = isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    if not whole:
        raise MisconfiguredRun(f"{where}: node {number} has no class_type and inputs: export the workflow for the API")


def _title(nodes: Mapping[str, Node], number: str) -> str:
    return f"node {number} ({nodes[number]['class_type']})"
