"""What a LoRA is trained with. The defaults are those of the embedded model; conf/training/sdxl.yaml has SDXL's."""

from __future__ import annotations

from dataclasses import dataclass

from runner.params import at_least, between, one_of, param

ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")
AUTO, FLOAT32, BFLOAT16 = "auto", "float32", "bfloat16"
ORIGINAL, TARGET = "original", "target"
_ABOVE_ZERO = 1e-12


@dataclass(frozen=True)
class LoraSettings:
    """How the LoRA is made, trained and kept."""

    resolution: int | None = param(
        None,
        help="pixels of a square image; others get a bucket of as many; null is the model's own",
        check=at_least(16),
    )
    bucket_step: int = param(
        64,
        help="pixels; the sides of buckets are multiples of it; as large as `resolution` makes all square",
        check=at_least(8),
    )
    size_conditions: str = param(
        TARGET,
        help="what SDXL is told of an image's size: original (its own, and the crop) or target (as if it had been of the bucket's)",
        check=one_of(ORIGINAL, TARGET),
    )
    rank: int = param(8, help="columns of the LoRA's matrices", check=at_least(1))
    alpha: float | None = param(
        None, help="the LoRA counts alpha / rank times; null is the rank", check=at_least(_ABOVE_ZERO)
    )
    target_modules: list[str] = param(list(ATTENTION), help="names of the UNet's layers that get a LoRA")
    learning_rate: float = param(2e-3, help="AdamW's, at its highest", check=at_least(0))
    schedule: str = param("constant", help="of the learning rate", check=one_of(*SCHEDULES))
    warmup_steps: int = param(0, help="steps in which the learning rate rises from 0", check=at_least(0))
    weight_decay: float = param(0.01, help="AdamW's", check=at_least(0))
    max_grad_norm: float = param(1.0, help="longer gradients are shortened to it", check=at_least(_ABOVE_ZERO))
    batch: int = param(8, help="images at once", check=at_least(1))
    accumulation: int = param(1, help="batches to one step of the optimizer", check=at_least(1))
    max_steps: int | None = param(150, help="steps of the optimizer; overrides num_train_epochs", check=at_least(1))
    num_train_epochs: int = param(1, help="times that each image is seen, where max_steps is null", check=at_least(1))
    min_snr_gamma: float | None = param(
        5.0,
        help="weighs noise levels (min-SNR, Hang et al. 2023, section 3.4); null weighs all alike",
        check=at_least(_ABOVE_ZERO),
    )
    noise_offset: float = param(0.0, help="share of noise that is the same over the whole image", check=between(0, 1))
    caption_dropout: float = param(0.1, help="share of images that are seen without their caption", check=between(0, 1))
    precision: str = param(
        AUTO,
        help="of the frozen weights: float32, bfloat16, or auto: bfloat16 on a GPU or a CPU with instructions for it. The LoRA itself is float32",
        check=one_of(AUTO, FLOAT32, BFLOAT16),
    )
    gradient_checkpointing: bool = param(
        False, help="compute parts of the UNet twice instead of keeping them: a third slower, half the memory"
    )
    checkpoint_every: int = param(50, help="steps between checkpoints", check=at_least(1))
    keep_checkpoints: int = param(3, help="checkpoints that are kept beside the best", check=at_least(1))
    validate_every: int = param(10, help="steps between looks at the held-out images", check=at_least(1))
    validation_images: int = param(8, help="held-out images that are looked at, at most", check=at_least(1))
    samples: int = param(4, help="pictures drawn at each checkpoint", check=at_least(0))

    def steps(self, an_epoch: int) -> int:
        """Steps of the optimizer, where an epoch has so many."""
        return self.max_steps or self.num_train_epochs * an_epoch

    @property
    def effective_batch(self) -> int:
        """Images to one step of the optimizer."""
        return self.batch * self.accumulation

    @property
    def scale(self) -> float:
        """What the LoRA counts."""
        return (self.alpha or self.rank) / self.rank
