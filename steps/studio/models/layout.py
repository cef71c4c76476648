"""Where things lie in a folder of weights; imports nothing heavy."""

from __future__ import annotations

MANIFEST = "manifest.json"
SDXL = "sdxl"
CONTROLNET = "controlnet"
ADAPTER = "ip_adapter.safetensors"
CLIP = "clip"
"""Also the adapter's `image_encoder_folder`: its half that sees is the image encoder."""
FACES = "faces"
FACE_PACKS = ("choose", "report")
"""Names for `FaceAnalysis`: one chooses checkpoints and frames, the other, which shares nothing with it, reports."""
READER = "reader.safetensors"

LARGEST_FILE = 10_000_000
LARGEST_TOTAL = 30_000_000
"""Bytes."""
