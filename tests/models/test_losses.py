import math

import pytest
import torch

from mmseg_uda.models.losses import PixelCrossEntropy, pixel_accuracy


def test_ignored_pixels_stay_in_the_denominator():
    label = torch.tensor([[[0, 255]]])
    logits = torch.zeros(1, 2, 1, 2)
    assert PixelCrossEntropy()(logits, label).item() == pytest.approx(0.34657359)
    weight = torch.full((1, 1, 2), 0.375)
    assert PixelCrossEntropy()(logits, label, weight).item() == pytest.approx(0.12996510)


@pytest.mark.parametrize(
    ("avg_non_ignore", "weighted", "expected"),
    [
        (False, False, 2.208329),
        (True, False, 2.944439),
        (False, True, 1.104165),
        (True, True, 1.472219),
    ],
)
def test_normalisation_of_uniform_logits_over_19_classes(avg_non_ignore, weighted, expected):
    label = torch.tensor([[[0, 1], [2, 255]]])
    weight = torch.tensor([[[1, 0.5], [0, 1]]]) if weighted else None
    loss = PixelCrossEntropy(avg_non_ignore=avg_non_ignore)
    assert loss(torch.zeros(1, 19, 2, 2), label, weight).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("avg_non_ignore", [False, True])
def test_only_ignored_pixels_give_zero_loss_and_gradient(avg_non_ignore):
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = PixelCrossEntropy(avg_non_ignore)(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_half_precision_logits_are_scored_in_float32():
    logits = torch.zeros(1, 19, 1, 1, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = PixelCrossEntropy()(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(19), rel=1e-6)


def test_class_and_loss_weights_multiply():
    loss = PixelCrossEntropy(class_weight=[2.0, 1.0], loss_weight=3.0)
    label = torch.tensor([[[0, 1]]])
    value = loss(torch.zeros(1, 2, 1, 2), label)
    assert value.item() == pytest.approx(3 * math.log(2) * (2 + 1) / 2)


def test_accuracy_counts_ignored_pixels_as_wrong():
    logits = torch.zeros(1, 2, 1, 4)
    logits[:, 1] = 1
    assert pixel_accuracy(logits, torch.tensor([[[1, 1, 0, 255]]])).item() == 50
