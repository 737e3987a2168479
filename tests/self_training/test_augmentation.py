"""Colour jitter and blur against hand-computed values."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_uda.engine.records import Normalization
from mmseg_uda.self_training import StepRandom
from mmseg_uda.self_training.augmentation import (
    blur_kernel_size,
    blur_weights,
    color_jitter,
    gaussian_blur,
    hsv_to_rgb,
    rgb_to_hsv,
    strong_augmentation,
)

FACTORS = torch.tensor([[1.1, 1.1, 1.2, 0.1]])
PIXEL = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
STAGES = [
    (0.3, 0.5, 0.7),
    (0.33, 0.55, 0.77),
    (0.24200, 0.50600, 0.77),
    (0.29480, 0.24200, 0.77),
]


@pytest.mark.parametrize("operations", range(1, 5))
def test_jitter_maths(operations):
    done = color_jitter(PIXEL, FACTORS, [tuple(range(operations))]).flatten()
    assert done.tolist() == pytest.approx(STAGES[operations - 1], abs=1e-5)


def test_hue_and_saturation_of_a_pixel():
    hue, saturation, _ = rgb_to_hsv(torch.tensor(STAGES[1]).view(1, 3, 1, 1)).flatten().tolist()
    assert (hue, saturation) == pytest.approx((0.583333, 0.571428), abs=1e-5)


def test_hsv_round_trip():
    rgb = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(hsv_to_rgb(rgb_to_hsv(rgb)), rgb, atol=1e-5)


def test_grey_has_hue_zero():
    assert rgb_to_hsv(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist() == [0.0, 0.0, 0.5]


def test_images_with_different_orders_match_single_images():
    rgb = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    factors = torch.tensor([[1.1, 0.9, 1.2, 0.1], [0.8, 1.2, 0.9, -0.2], [1.0, 1.1, 0.8, 0.15]])
    orders = [(0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 2, 3)]
    together = color_jitter(rgb, factors, orders)
    for i in range(3):
        alone = color_jitter(rgb[i : i + 1], factors[i : i + 1], orders[i : i + 1])
        assert torch.equal(together[i : i + 1], alone)


def test_application_frequencies():
    random = StepRandom(3)
    jitter = blur = 0
    for step in range(10_000):
        random.begin_step(step)
        jitter += random.apply_color_jitter(0.8)
        blur += random.apply_blur(0.5)
    assert jitter / 10_000 == pytest.approx(0.80, abs=0.012)
    assert blur / 10_000 == pytest.approx(0.50, abs=0.015)


@pytest.mark.parametrize(
    "extent, size", [(128, 13), (256, 25), (384, 39), (512, 51), (768, 77), (1024, 103)]
)
def test_kernel_sizes(extent, size):
    assert blur_kernel_size(extent) == size


def test_gaussian_weights():
    weights = blur_weights(torch.tensor([1.0]), 15)[0, 7:11]
    assert weights.tolist() == pytest.approx([0.398942, 0.241971, 0.0539910, 0.00443185], rel=1e-5)


def test_a_constant_image_stays():
    image = torch.full((2, 3, 32, 40), 0.7)
    assert torch.allclose(gaussian_blur(image, torch.tensor([0.5, 1.1])), image, atol=1e-6)


def test_the_smallest_sigma_is_the_identity():
    weights = blur_weights(torch.tensor([0.15], dtype=torch.float64), 15)[0]
    weights[7] -= 1
    assert weights[8:].abs().max() < 3e-10 and weights.sum().abs() < 1e-15
    image = torch.rand(1, 3, 160, 160, dtype=torch.float64)
    blurred = gaussian_blur(image, torch.tensor([0.15], dtype=torch.float64))
    assert (blurred - image).abs().max() < 1e-9


@pytest.mark.parametrize(("side", "largest"), [(256, 1.15), (440, 3.0)])
def test_separable_equals_dense(side, largest):
    image = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    sigma = torch.tensor([0.6, largest])
    size = blur_kernel_size(side)
    taps = blur_weights(sigma, size)
    dense = torch.einsum("bi,bj->bij", taps, taps).repeat_interleave(3, dim=0).unsqueeze(1)
    half = size // 2
    padded = F.pad(image, (half,) * 4, mode="reflect").reshape(1, 6, side + 2 * half, -1)
    expected = F.conv2d(padded, dense, groups=6).view_as(image)
    assert (gaussian_blur(image, sigma, largest) - expected).abs().max() < 1e-6


def test_without_jitter_and_blur_nothing_changes():
    image = torch.randn(2, 3, 16, 16)
    unit = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    same = strong_augmentation(
        image, unit, StepRandom(0), jitter=False, blur=False, jitter_strength=0.2
    )
    assert same is image


def test_denormalisation_is_undone():
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    normalization = Normalization(mean, std)
    rgb = torch.rand(1, 3, 4, 4)
    assert torch.allclose(normalization.to_rgb(normalization.from_rgb(rgb)), rgb, atol=1e-6)
