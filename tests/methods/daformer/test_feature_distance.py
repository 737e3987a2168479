"""Cell labels and the feature distance."""

import pytest
import torch

from mmseg_uda.methods.daformer import downscale_label, masked_distance

LABEL = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, 1], [2, 2, 255, 255], [2, 255, 255, 0]]])


def test_cells_take_their_dominating_class():
    cells = downscale_label(LABEL, factor=2, min_ratio=0.75, num_classes=3)
    assert cells.tolist() == [[[0, 1], [2, 255]]]


def test_a_tie_below_the_ratio_is_ignored():
    label = torch.tensor([[[0, 0], [1, 1]]])
    assert downscale_label(label, 2, 0.75, 3).item() == 255


def test_a_tie_that_reaches_the_ratio_takes_the_lowest_class():
    label = torch.tensor([[[2, 1], [1, 2]]])
    assert downscale_label(label, 2, 0.5, 3).item() == 1


def test_a_rest_at_the_border_is_dropped():
    assert downscale_label(torch.zeros(1, 5, 7, dtype=torch.int64), 2, 0.75, 3).shape == (1, 2, 3)


def test_distance_is_the_mean_over_selected_cells():
    features = torch.zeros(1, 2, 1, 3)
    features[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    features[0, :, 0, 2] = 100.0
    mask = torch.tensor([[[True, True, False]]])
    distance = masked_distance(features, torch.zeros_like(features), mask)
    assert distance.item() == pytest.approx(2.5)
    assert 0.005 * distance.item() == pytest.approx(0.0125)


def test_no_selected_cell_gives_zero_loss_and_gradient():
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    distance = masked_distance(features, torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2).bool())
    distance.backward()
    assert distance.item() == 0.0
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(1, 2, 1, 1, requires_grad=True)
    masked_distance(features, torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1).bool()).backward()
    assert torch.isfinite(features.grad).all()
