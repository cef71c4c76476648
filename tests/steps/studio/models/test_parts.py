"""What the parts compute, on cases whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
pytest.importorskip("diffusers")


def test_normalised_latents_have_mean_0_and_deviation_1_and_decode_to_the_same(parts: Any) -> None:
    from steps.studio.models import vae

    torch.manual_seed(1)
    model = vae.new_vae(channels=(8, 8, 8, 8), latent_channels=4)
    torch.nn.init.normal_(model.quant_conv.bias, std=2.0)
    images = torch.rand(6, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = model.encode(images).latent_dist
        remade = model.decode(before.mean).sample
        vae.normalise_latents(model, before.mean)
        after = model.encode(images).latent_dist
        again = model.decode(after.mean).sample
    assert after.mean.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (after.mean.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-4
    assert (remade - again).abs().max() < 1e-4
    deviation = before.mean.std(dim=(0, 2, 3))[:, None, None]
    assert torch.allclose(after.std, before.std / deviation, rtol=1e-3)


def test_decibels_are_those_of_the_definition() -> None:
    from steps.studio.models.vae import decibels

    images = torch.zeros(1, 3, 8, 8)
    # Off by 0.1 of a range of 2: 20 log10(20).
    assert float(decibels(images + 0.1, images)) == pytest.approx(26.02, abs=0.01)


def test_a_cut_out_is_the_part_that_its_box_names() -> None:
    from steps.studio.models.heads import cut_out

    image = torch.arange(64.0).view(1, 1, 8, 8)
    assert torch.allclose(cut_out(image, torch.tensor([[2.0, 1.0, 6.0, 5.0]]), 4)[0, 0], image[0, 0, 1:5, 2:6])


def test_insightface_aligns_a_detected_face_to_the_cut_out_that_training_saw() -> None:
    from insightface.utils import face_align

    from steps.studio.models import faces
    from steps.studio.models.heads import cut_out

    rng = np.random.default_rng(0)
    image = np.asarray(
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    )
    left, top, right, bottom = 10.0, 6.0, 50.0, 46.0
    points = faces.ARCFACE_POINTS.numpy() * (right - left) + (left, top)
    with pytest.warns(FutureWarning):
        aligned = face_align.norm_crop(image, landmark=points, image_size=faces.CROP)
    # Pixels are counted from their middles there and from their corners here.
    box = torch.tensor([[left, top, right, bottom]]) + 0.5 - 0.5 * (right - left) / faces.CROP
    cut = cut_out(torch.tensor(image).permute(2, 0, 1)[None].float(), box, faces.CROP)[0].permute(1, 2, 0).numpy()
    assert np.abs(aligned.astype(float) - cut).mean() < 1


def test_a_detector_that_is_right_costs_little_and_is_read_as_that_box(monkeypatch: pytest.MonkeyPatch) -> None:
    from steps.studio.models import faces

    boxes = torch.tensor([[20.0, 30.0, 76.0, 86.0]])
    raw = [torch.full((1, 5, 128 // stride, 128 // stride), -9.0) for stride in faces.STRIDES]
    row, column, stride = 4, 3, 16
    place = torch.tensor([column * stride, row * stride])
    distances = torch.cat([place - boxes[0, :2], boxes[0, 2:] - place]) / stride
    right = raw[1].clone()
    right[0, 0, row, column] = 9.0
    right[0, 1:, row, column] = distances.log()
    cheap, _ = faces._detection_losses(right, boxes, stride)
    dear, _ = faces._detection_losses(raw[1], boxes, stride)
    assert float(cheap) < float(dear)
    detector = faces.Detector()
    monkeypatch.setattr(detector, "raw", lambda _: [raw[0], right, raw[2]])
    found = detector(torch.zeros(1, 3, 128, 128))
    best = int(found[1].argmax())
    assert float(found[1].max()) > 0.99
    assert torch.allclose(found[4][best] * stride, distances * stride, atol=1e-3)
    points = found[7][best].view(5, 2) * stride + place
    assert torch.allclose(points, faces.ARCFACE_POINTS * 56 + boxes[0, :2], atol=1e-2)


def test_heads_on_a_larger_ground_move_with_their_boxes() -> None:
    from steps.studio.models.faces import scene_with_heads

    images = torch.full((1, 3, 64, 64), -1.0)
    images[:, :, 16:32, 8:24] = 1.0
    box = torch.tensor([[8.0, 16.0, 24.0, 32.0]])
    for seed in range(6):
        drawn, boxes = scene_with_heads(images, box, torch.Generator().manual_seed(seed))
        left, top, right, bottom = (round(float(value)) for value in boxes[0])
        assert drawn[0, 0, top + 3 : bottom - 3, left + 3 : right - 3].min() > 0.9
        assert drawn[0, 0].gt(0).sum() == pytest.approx((right - left) * (bottom - top), rel=0.15)


def test_joints_are_found_where_a_map_is_bright() -> None:
    from steps.studio.models.reader import _middles, joint_errors

    maps = torch.full((1, 2, 16, 16), -50.0)
    maps[0, 0, 3, 10] = maps[0, 1, 15, 0] = 50.0
    found = _middles(maps, 64)
    assert torch.allclose(found[0], torch.tensor([[42.0, 14.0], [2.0, 62.0]]))
    # The second lies outside the picture and counts for nothing.
    wanted = torch.tensor([[[42.0, 17.0], [70.0, 62.0]]])
    assert joint_errors(found, wanted).tolist() == pytest.approx([3.0], abs=1e-3)


def test_noise_and_velocity_give_the_latents_back() -> None:
    from steps.studio.models.diffusion import Noising, new_scheduler

    scheduler = new_scheduler()
    latents = torch.randn(8, 4, 2, 2)
    noisy, velocity, times, weights = Noising(scheduler)(latents, torch.Generator().manual_seed(3))
    alpha = scheduler.alphas_cumprod[times].sqrt()[:, None, None, None]
    sigma = (1 - scheduler.alphas_cumprod[times]).sqrt()[:, None, None, None]
    # Salimans and Ho 2022, appendix D: x = alpha z - sigma v.
    assert torch.allclose(alpha * noisy - sigma * velocity, latents, atol=1e-4)
    assert weights.max() <= 1.0
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(0.0, abs=1e-6)


def test_captions_fit_the_text_encoders() -> None:
    import random

    from steps.studio.models import captions, domain
    from steps.studio.models.tokens import LENGTH, new_tokenizer, tokens_of

    tokenizer, rng = new_tokenizer(), random.Random(0)
    texts = [captions.full_caption(domain.picture("train", index)) for index in range(300)]
    texts += [captions.any_caption(domain.picture("train", index), rng) for index in range(300)]
    assert max(len(tokenizer(text).input_ids) for text in texts) < LENGTH
    # Every letter that a person may type has a token.
    assert (
        tokenizer.decode(tokenizer("Zürich 42, ohwx! ñ").input_ids, skip_special_tokens=True) == "zürich 4 2 , ohwx ! ñ"
    )
    assert tokens_of([""]).shape == (1, LENGTH)


def test_the_tokenizer_comes_back_from_its_files(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    from steps.studio.models.tokens import new_tokenizer, save_tokenizer

    save_tokenizer(tmp_path)
    assert (tmp_path / "vocab.json").is_file()
    text = "a full-body picture of zorvek, riding a horse"
    assert CLIPTokenizer.from_pretrained(tmp_path)(text).input_ids == new_tokenizer()(text).input_ids
    (tmp_path / "tokenizer.json").unlink()
    assert CLIPTokenizer.from_pretrained(tmp_path)(text).input_ids == new_tokenizer()(text).input_ids


def test_the_area_under_the_curve_is_that_of_all_pairs() -> None:
    from steps.studio.models.measure import Bar, _area

    assert _area(np.eye(4)) == 1.0
    assert _area(np.ones((4, 4))) == 0.5
    square = np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.1], [0.4, 0.2, 0.35]])
    different = square[~np.eye(3, dtype=bool)]
    assert _area(square) == pytest.approx(np.mean([same > other for same in np.diag(square) for other in different]))
    assert Bar("x", 2.0, 2.0).passed
    assert not Bar("x", 2.0, 2.0, most=True).passed
    assert "FAIL" in str(Bar("x", 1.0, 2.0))


def test_planar_norms_are_group_norms() -> None:
    from steps.studio.models.planar import use_planar_norms

    torch.manual_seed(0)
    norm = torch.nn.Sequential(torch.nn.GroupNorm(4, 16))
    torch.nn.init.normal_(norm[0].weight)
    images = torch.randn(2, 16, 5, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.randn(2, 16, 5, 7)
    results = []
    for _ in range(2):
        normed = norm(images)
        results.append([normed, *torch.autograd.grad(normed, [images, norm[0].weight, norm[0].bias], gradient)])
        use_planar_norms(norm)
    assert results[1][0].is_contiguous(memory_format=torch.channels_last)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*results, strict=True))


def test_plain_attention_gives_the_same_numbers_with_and_without_the_adapter() -> None:
    from steps.studio.models import diffusion

    torch.manual_seed(0)
    model = diffusion.DiffusionInTraining(diffusion.new_unet((64, 64), latent_channels=4))
    noise, words = torch.randn(2, 4, 8, 8), torch.randn(2, 77, sum(diffusion.WIDTHS))
    given = {
        "time_ids": diffusion.time_ids(2),
        "text_embeds": torch.randn(2, diffusion.POOLED),
        "image_embeds": [torch.randn(2, 1, 128)],
    }
    found = []
    for scale in (0.0, 1.0):
        diffusion.set_adapter_scale(model.unet, scale)
        found.append(model.unet(noise, 7, words, added_cond_kwargs=given).sample)
    diffusion.use_plain_attention(model.unet)
    names = set(model.state_dict())
    for scale, before in zip((0.0, 1.0), found, strict=True):
        diffusion.set_adapter_scale(model.unet, scale)
        assert torch.allclose(model.unet(noise, 7, words, added_cond_kwargs=given).sample, before, atol=1e-4)
    assert not torch.allclose(*found, atol=1e-4)
    assert any("to_k_ip" in name for name in names)
