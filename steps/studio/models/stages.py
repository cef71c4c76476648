"""The training recipe's stages in order. Each goes on from its checkpoint, and leaves its finished part for the next ones."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import CLIPModel

from runner import files
from runner.errors import UserError
from runner.stop import Stop
from steps.studio.models import clip, control, diffusion, domain, encoded, faces, reader, vae
from steps.studio.models.export import Parts
from steps.studio.models.planar import use_planar_norms
from steps.studio.models.renders import Renders, draw_chunks, draw_empty_chunks
from steps.studio.models.tensors import to_tensor
from steps.studio.models.training import LossOf, Schedule, averages, train
from steps.studio.models.weights import quiet

PEOPLE, TEST_PEOPLE, STRANGERS = 6_016, 256, 64
EMPTY, TEST_EMPTY = 2_048, 512
REMADE = 8_192
_MEASURED = 1_024


@dataclass(frozen=True)
class Work:
    """Where and how much is trained.

    Attributes:
        folder: Keeps everything that stages leave.
        seed: Draws weights, batches and noise.
        effort: 1 for the real thing; less makes fewer steps and pictures, to try the recipe out.
        device: Where models learn: "cpu", "cuda".
        threads: Processor threads, or processes that draw.
        stop: Asked between steps.
        log: Told how it goes.
    """

    folder: Path
    seed: int = 0
    effort: float = 1.0
    device: str = "cpu"
    threads: int = 1
    stop: Stop | None = None
    log: logging.Logger = logging.getLogger("callsheet")

    def steps(self, schedule: Schedule) -> Schedule:
        """The schedule at this effort."""
        return replace(schedule, steps=max(2, round(schedule.steps * self.effort)))

    def count(self, number: int) -> int:
        """A number of pictures at this effort: whole people, two at least."""
        return max(2 * domain.RENDERS, round(number * self.effort) // domain.RENDERS * domain.RENDERS)

    def rows(self, kind: str, split: str = "train") -> Renders:
        """What an earlier stage made."""
        return Renders(self.folder / kind, split)

    def finished(self, name: str) -> dict[str, Tensor]:
        """A finished part's weights.

        Raises:
            UserError: Its stage has not ended.
        """
        path = self._finished_path(name)
        if not path.is_file():
            raise UserError(f"{path} is not there: run the stage that trains '{name}' to its end first")
        return load_file(path)

    def is_finished(self, name: str) -> bool:
        """Whether a part's stage has ended."""
        return self._finished_path(name).is_file()

    def finish(self, name: str, module: nn.Module) -> None:
        """Keep a finished part."""
        tensors = {key: value.detach().clone().contiguous() for key, value in module.state_dict().items()}
        files.write_bytes(self._finished_path(name), save(tensors))

    def train(self, name: str, module: nn.Module, loss_of: LossOf, schedule: Schedule) -> None:
        """Train a part from its checkpoint to its end, and put the moving average in its place."""
        path, plan = self.folder / "checkpoints" / f"{name}.safetensors", self.steps(schedule)
        module.to(self.device)
        with contextlib.closing(train(module, loss_of, plan, path, seed=self.seed)) as training:
            for step, told in training:
                figures = ", ".join(f"{key} {value:.4g}" for key, value in told.items())
                self.log.info("%s: step %d of %d: %s", name, step, plan.steps, figures)
                self.check()
        module.load_state_dict(averages(path), strict=False)
        module.eval()

    def check(self) -> None:
        """Raise Interrupted when the run is stopping."""
        if self.stop is not None:
            self.stop.check()

    def go_through(self, name: str, made: Iterator[int]) -> None:
        """Let something be made, told now and then."""
        for count in made:
            self.log.info("%s: %d", name, count)
            self.check()

    def _finished_path(self, name: str) -> Path:
        return self.folder / "finished" / f"{name}.safetensors"


def draw(work: Work) -> None:
    """Draw people in scenes, and scenes with nobody, for training and for tests."""
    folder = work.folder / "renders"
    sizes = {"train": PEOPLE, "test": TEST_PEOPLE, "stranger": STRANGERS}
    for split, people in sizes.items():
        work.go_through(
            f"{split} pictures", draw_chunks(folder, split, work.count(people * domain.RENDERS), work.threads)
        )
    for split, count in (("train", EMPTY), ("test", TEST_EMPTY)):
        work.go_through(f"{split} empty places", draw_empty_chunks(folder, split, work.count(count), work.threads))


def train_vae(work: Work) -> None:
    """Train the autoencoder, and make its latents of mean 0 and deviation 1."""
    module = _in_memory_order(vae.new_vae())
    use_planar_norms(module)
    renders = work.rows("renders")
    work.train("vae", module, vae.VaeLosses(module, renders), vae.SCHEDULE)
    images = to_tensor(renders[range(0, len(renders), max(1, len(renders) // _MEASURED))])
    with torch.no_grad():
        means = torch.cat([module.encode(part.to(work.device)).latent_dist.mean for part in images.split(64)])
    vae.normalise_latents(module, means)
    work.finish("vae", module)


def train_clip(work: Work) -> None:
    """Train CLIP."""
    module = clip.ClipInTraining()
    work.train("clip", module, clip.ClipLosses(module, work.rows("renders")), clip.SCHEDULE)
    work.finish("clip", module.clip)


def encode(work: Work) -> None:
    """Latents, reference embeddings, and pictures that went through the autoencoder."""
    coder, model, renders = finished_vae(work), finished_clip(work), work.rows("renders")
    work.go_through("latents", encoded.encode_latents(coder, renders, work.folder / "latents", "train"))
    work.go_through("references", encoded.encode_references(model, renders, work.folder / "references", "train"))
    count = work.count(REMADE)
    work.go_through("remade", encoded.remake(coder, renders, work.folder / "remade", "train", count))


def train_embedder(work: Work) -> None:
    """Train the face embedder that chooses."""
    _train_embedder(work, "embedder", faces.ConvolutionalEmbedder())


def train_second_embedder(work: Work) -> None:
    """Train the face embedder that reports."""
    _train_embedder(work, "second_embedder", faces.AttentiveEmbedder())


def train_detector(work: Work) -> None:
    """Train the face detector."""
    module = faces.Detector()
    losses = faces.DetectorLosses(module, work.rows("renders"), work.rows("renders", "train-empty"))
    work.train("detector", module, losses, faces.DETECTOR_SCHEDULE)
    work.finish("detector", module)


def train_reader(work: Work) -> None:
    """Train the reader that judges what is drawn."""
    module = reader.Reader()
    work.train(
        "reader", module, reader.ReaderLosses(module, work.rows("renders"), work.rows("remade")), reader.SCHEDULE
    )
    work.finish("reader", module)


def train_diffusion(work: Work) -> None:
    """Train UNet, text encoders and IP-Adapter together."""
    module = diffusion.DiffusionInTraining()
    if work.device == "cpu":
        diffusion.use_plain_attention(module.unet)
    losses = diffusion.DiffusionLosses(module, work.rows("latents"), work.rows("references"))
    work.train("diffusion", module, losses, diffusion.SCHEDULE)
    work.finish("diffusion", module)


def train_control(work: Work) -> None:
    """Train the ControlNet on the finished UNet."""
    model = finished_diffusion(work)
    if work.device == "cpu":
        diffusion.use_plain_attention(model.unet)
    module = control.new_controlnet(model.unet)
    work.train("control", module, control.ControlLosses(module, model, work.rows("latents")), control.SCHEDULE)
    work.finish("control", module)


STAGES: dict[str, tuple[str, Callable[[Work], None]]] = {
    "draw": ("", draw),
    "vae": ("vae", train_vae),
    "clip": ("clip", train_clip),
    "encode": ("", encode),
    "embedder": ("embedder", train_embedder),
    "second_embedder": ("second_embedder", train_second_embedder),
    "detector": ("detector", train_detector),
    "reader": ("reader", train_reader),
    "diffusion": ("diffusion", train_diffusion),
    "control": ("control", train_control),
}
"""Name -> the part that it finishes (none where files on disk say what is done), and what it does; in order."""


def carry_out(name: str, work: Work) -> None:
    """Carry a stage out, or what is left of it."""
    part, stage = STAGES[name]
    if part and work.is_finished(part):
        work.log.info("%s: done before", name)
        return
    quiet()
    torch.manual_seed(work.seed * len(STAGES) + list(STAGES).index(name))
    stage(work)


def finished_vae(work: Work) -> AutoencoderKL:
    """The trained autoencoder."""
    return _filled(_in_memory_order(vae.new_vae()), work, "vae")


def finished_clip(work: Work) -> CLIPModel:
    """The trained CLIP."""
    return _filled(clip.new_clip(), work, "clip")


def finished_diffusion(work: Work) -> diffusion.DiffusionInTraining:
    """The trained UNet with its adapter and text encoders."""
    return _filled(diffusion.DiffusionInTraining(), work, "diffusion")


def _filled(module: nn.Module, work: Work, name: str) -> nn.Module:
    module.load_state_dict(work.finished(name))
    return control.frozen(module).to(work.device)


def _in_memory_order(module: nn.Module) -> nn.Module:
    """Channels last: convolutions on a CPU are faster so."""
    return module.to(memory_format=torch.channels_last)


def _train_embedder(work: Work, name: str, embedder: nn.Module) -> None:
    module = faces.EmbedderInTraining(embedder)
    losses = faces.EmbedderLosses(module, work.rows("renders"), work.rows("remade"))
    work.train(name, module, losses, faces.EMBEDDER_SCHEDULE)
    work.finish(name, embedder)


def finished_parts(work: Work) -> Parts:
    """All that is shipped, from the finished stages.

    Raises:
        UserError: A stage has not ended.
    """
    work = replace(work, device="cpu")
    model = finished_diffusion(work)
    return Parts(
        vae=finished_vae(work),
        diffusion=model,
        controlnet=_filled(control.new_controlnet(model.unet), work, "control"),
        clip=finished_clip(work),
        detector=_filled(faces.Detector(), work, "detector"),
        embedder=_filled(faces.ConvolutionalEmbedder(), work, "embedder"),
        second_embedder=_filled(faces.AttentiveEmbedder(), work, "second_embedder"),
        reader=_filled(reader.Reader(), work, "reader"),
    )
