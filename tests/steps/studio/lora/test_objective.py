"""What is asked of the UNet: noise from (seed, step), weights by noise level, batches of one size."""

from __future__ import annotations

from typing import Any

import pytest

from steps.studio.lora.settings import LoraSettings

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
objective = pytest.importorskip("steps.studio.lora.objective")


def example(name: str = "a", shape: tuple[int, int, int] = (4, 8, 8), deviation: float = 0.0) -> Any:
    from steps.studio.lora.encoding import Encoded, Words

    words = Words(torch.full((77, 6), float(ord(name))), torch.full((5,), float(ord(name))))
    return Encoded(name, torch.ones(shape), torch.full(shape, deviation), words, torch.arange(6.0))


def lots(seed: int = 0, **settings: Any) -> Any:
    return objective.Lots(seed, LoraSettings(**settings), objective.Scaling(2.0), 1000)


def test_chance_hangs_on_seed_and_step_alone() -> None:
    examples = [example("a"), example("b")]
    one, again = lots().of_step(3, examples), lots().of_step(3, examples)
    assert all(torch.equal(left.noise, right.noise) for left, right in zip(one, again, strict=True))
    assert [drawn.time for drawn in one] == [drawn.time for drawn in again]
    for other in (lots().of_step(4, examples), lots(seed=1).of_step(3, examples)):
        assert not torch.equal(one[0].noise, other[0].noise)
    assert not torch.equal(one[0].noise, one[1].noise)


def test_latents_are_drawn_from_their_distribution_and_scaled() -> None:
    assert torch.equal(lots().of_step(0, [example()])[0].latents, torch.full((4, 8, 8), 2.0))
    drawn = lots().of_step(0, [example(deviation=1.0)])[0].latents
    assert 1.5 < float(drawn.std()) < 2.5


def test_captions_are_dropped_as_often_as_is_said() -> None:
    some = [drawn.dropped for step in range(100) for drawn in lots(caption_dropout=0.25).of_step(step, [example()] * 8)]
    assert 0.2 < sum(some) / len(some) < 0.3
    assert not any(drawn.dropped for drawn in lots(caption_dropout=0.0).of_step(0, [example()] * 20))


def test_a_noise_offset_is_the_same_over_the_whole_image() -> None:
    without, shifted = (lots(noise_offset=share).of_step(0, [example()])[0].noise for share in (0.0, 0.5))
    shift = shifted - without
    assert torch.allclose(shift, shift.mean(dim=(1, 2), keepdim=True).expand_as(shift), atol=1e-6)
    assert float(shift.abs().max()) > 0.01


def test_validation_sees_the_same_noise_at_levels_spread_evenly() -> None:
    drawn = lots(noise_offset=0.1, caption_dropout=1.0).of_validation([example()] * 4)
    assert [one.time for one in drawn] == [125, 375, 625, 875]
    assert not any(one.dropped for one in drawn)


def test_batches_have_one_size_and_at_most_so_many() -> None:
    from steps.studio.lora.encoding import Words

    shapes = [(4, 8, 8), (4, 4, 16), (4, 8, 8), (4, 8, 8)]
    examples = [example(name, shape) for name, shape in zip("abcd", shapes, strict=True)]
    drawn = [one._replace(dropped=place == 3) for place, one in enumerate(lots().of_step(0, examples))]
    nothing = Words(torch.zeros(77, 6), torch.zeros(5))
    found = objective.batches(examples, drawn, nothing, 2)
    assert [tuple(batch.latents.shape) for batch in found] == [(2, 4, 8, 8), (1, 4, 8, 8), (1, 4, 4, 16)]
    assert found[0].pooled[:, 0].tolist() == [ord("a"), ord("c")]
    # Without its caption.
    assert found[1].pooled[:, 0].tolist() == [0]
    assert torch.equal(found[0].noise[1], drawn[2].noise)


def scheduler(prediction: str, *, zero: bool) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        rescale_betas_zero_snr=zero,
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_levels_are_weighed_as_in_diffusers_example(prediction: str) -> None:
    from diffusers.training_utils import compute_snr

    asked = objective.Objective(scheduler(prediction, zero=False).config, 5.0)
    ratio = compute_snr(asked.scheduler, torch.arange(1000))
    expected = ratio.clamp(max=5.0) / (ratio if prediction == "epsilon" else ratio + 1)
    assert torch.allclose(asked._weights, expected, rtol=1e-4)
    assert bool((objective.Objective(asked.scheduler.config, None)._weights == 1).all())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pure_noise_has_a_finite_weight(prediction: str) -> None:
    asked = objective.Objective(scheduler(prediction, zero=True).config, 5.0)
    assert bool(asked._weights.isfinite().all())
    assert float(asked._weights[-1]) == pytest.approx(1.0 if prediction == "epsilon" else 0.0, abs=1e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_model_that_says_what_its_scheduler_promises_has_no_loss(prediction: str) -> None:
    from types import SimpleNamespace

    asked = objective.Objective(scheduler(prediction, zero=False).config, None)
    batch = objective.Batch(*(torch.randn(2, 4, 8, 8) for _ in range(2)), torch.tensor([10, 900]), *[torch.ones(2)] * 3)

    def answer(_noisy: Any, times: Any, *_: Any, **__: Any) -> tuple[Any]:
        if prediction == "epsilon":
            return (batch.noise,)
        alpha = asked.scheduler.alphas_cumprod[times].view(-1, 1, 1, 1)
        return (alpha.sqrt() * batch.noise - (1 - alpha).sqrt() * batch.latents,)

    class Unet:
        device = torch.device("cpu")
        conv_in = SimpleNamespace(weight=torch.zeros(1))
        __call__ = staticmethod(answer)

    weighed, plain = asked(Unet(), batch)
    assert float(plain.max()) < 1e-10
    assert float(weighed.max()) < 1e-10


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="predicts 'sample'"):
        objective.Objective(scheduler("sample", zero=False).config, None)
