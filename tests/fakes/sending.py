"""One good request for every route, sent by a raw client: for the servers' own tests."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import httpx
from PIL import Image

from steps.judging import PROMPT, SCHEMA
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer
from tests.fakes.server import FakeServer

KEY = "sk-right"
BEARER = {"Authorization": f"Bearer {KEY}"}
KONTEXT = "/v1/models/black-forest-labs/flux-kontext-pro/predictions"
DEV = "/v1/models/black-forest-labs/flux-dev/predictions"
DESCRIPTION, OUTFIT = "a woman with red hair", "a green coat"
POST, GET = "POST", "GET"


def png(size: tuple[int, int] = (8, 12)) -> bytes:
    """A small image."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "PNG")
    return buffer.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    """An image in a URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def chat_body(image: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """The question that validate asks."""
    text = PROMPT.replace("{description}", DESCRIPTION).replace("{outfit}", OUTFIT)
    picture = {"type": "image_url", "image_url": {"url": data_url(image or png()), "detail": "low"}}
    schema = {"name": "base_image", "strict": True, "schema": dict(SCHEMA)}
    return {
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}, picture]}],
        "response_format": {"type": "json_schema", "json_schema": schema},
        **changes,
    }


def image_body(**changes: Any) -> dict[str, Any]:
    """An image to be made."""
    return {
        "model": "gpt-image-1",
        "prompt": "a person Wearing: a coat",
        "size": "1024x1536",
        "quality": "low",
        **changes,
    }


def prediction(**changes: Any) -> dict[str, Any]:
    """An input for FLUX on Replicate."""
    return {"input": {"prompt": "a person Wearing: a coat", "aspect_ratio": "2:3", "seed": 7, **changes}}


def comfy(prompt: str = "a person Wearing: a coat", seed: int = 7, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """FLUX dev, text to image, in ComfyUI's API format; `changes` replace nodes by "n" and their number."""
    nodes = {
        "1": ("CheckpointLoaderSimple", {"ckpt_name": "flux1-dev-fp8.safetensors"}),
        "2": ("CLIPTextEncode", {"text": prompt, "clip": ["1", 1]}),
        "3": ("CLIPTextEncode", {"text": "", "clip": ["1", 1]}),
        "4": ("FluxGuidance", {"conditioning": ["2", 0], "guidance": 3.5}),
        "5": ("EmptySD3LatentImage", {"width": 64, "height": 96, "batch_size": 1}),
        "6": ("KSampler", {**_SAMPLER, "seed": seed}),
        "7": ("VAEDecode", {"samples": ["6", 0], "vae": ["1", 2]}),
        "8": ("SaveImage", {"images": ["7", 0], "filename_prefix": "callsheet"}),
    }
    graph = {number: {"class_type": kind, "inputs": inputs} for number, (kind, inputs) in nodes.items()}
    return graph | {name.removeprefix("n"): dict(node) for name, node in changes.items()}


_SAMPLER: Mapping[str, Any] = {
    "model": ["1", 0], "positive": ["4", 0], "negative": ["3", 0], "latent_image": ["5", 0],
    "steps": 25, "cfg": 1, "sampler_name": "euler", "scheduler": "simple", "denoise": 1,
}  # fmt: skip


def job(**changes: Any) -> dict[str, Any]:
    """A job for the worker."""
    return {"input": {"workflow": comfy(), **changes}}


def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """One request on a connection of its own, by a client that loads no certificates: that takes longer than the rest."""
    return httpx.request(method, url, **{"verify": False, "trust_env": False, "timeout": 10.0, **options})


def send(server: FakeServer[Any], route: str, *, timeout: float = 10.0) -> httpx.Response:
    """A request that succeeds when nothing is scripted. What it needs, such as a job to look at, is made first."""
    method, path, content = _request(server, route)
    headers = {} if route == "output" else BEARER
    return ask(method, server.origin + path, headers=headers, timeout=timeout, **content)


def _request(server: FakeServer[Any], route: str) -> tuple[str, str, Mapping[str, Any]]:
    if isinstance(server, ReplicateServer):
        return _replicate(server, route)
    return _runpod(server, route) if isinstance(server, RunPodServer) else _OPENAI[route]


_OPENAI: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "chat": (POST, "/v1/chat/completions", {"json": chat_body()}),
    "models": (GET, "/v1/models", {}),
    "model": (GET, "/v1/models/gpt-6-luna", {}),
    "images": (POST, "/v1/images/generations", {"json": image_body()}),
    "edits": (
        POST,
        "/v1/images/edits",
        {"data": {"model": "gpt-image-1", "prompt": "a person"}, "files": {"image": ("a.png", png(), "image/png")}},
    ),
}


def _replicate(server: ReplicateServer, route: str) -> tuple[str, str, Mapping[str, Any]]:
    if route == "create":
        return POST, DEV, {"json": prediction(go_fast=False)}
    if route == "upload":
        return POST, "/v1/files", {"files": {"content": ("a.png", png(), "image/png")}}
    if route == "list":
        return GET, "/v1/predictions", {}
    if route in ("account", "model"):
        return GET, "/v1/account" if route == "account" else DEV.removesuffix("/predictions"), {}
    if route == "file":
        made = ask(POST, server.url + "/v1/files", headers=BEARER, files={"content": ("a.png", png(), "image/png")})
        return GET, f"/v1/files/{made.json()['id']}", {}
    made = ask(POST, server.url + DEV, headers=BEARER, json=prediction(go_fast=False))
    number = made.json()["id"]
    if route == "output":
        return GET, f"/output/{number}/0/out-0.webp", {}
    path = f"/v1/predictions/{number}"
    return (POST, f"{path}/cancel", {}) if route == "cancel" else (GET, path, {})


def _runpod(server: RunPodServer, route: str) -> tuple[str, str, Mapping[str, Any]]:
    if route in ("run", "runsync"):
        return POST, f"/v2/flux/{route}", {"json": job()}
    if route == "health":
        return GET, "/v2/flux/health", {}
    made = ask(POST, server.url + "/flux/run", headers=BEARER, json=job()).json()["id"]
    if route == "output":
        return GET, f"/output/{made}/0/callsheet_00001_.png", {}
    return (POST if route == "cancel" else GET), f"/v2/flux/{route}/{made}", {}
