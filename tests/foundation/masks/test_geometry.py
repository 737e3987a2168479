import numpy as np
import pytest
import torch

from mmseg_uda.foundation.masks import geometry


def test_crops_and_points_are_the_published_ones():
    crops = geometry.crop_layers((1440, 1920), 1, 512 / 1500)
    assert crops == [
        ((0, 0, 1920, 1440), 0),
        ((0, 0, 1206, 966), 1),
        ((0, 475, 1206, 1440), 1),
        ((715, 0, 1920, 966), 1),
        ((715, 475, 1920, 1440), 1),
    ]
    assert len(geometry.point_grid(64)) == 4096
    grid = geometry.point_grid(2)
    assert grid.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_a_second_layer_has_sixteen_crops_that_cover_the_image():
    crops = [crop for crop, layer in geometry.crop_layers((90, 130), 2, 0.3) if layer == 2]
    covered = np.zeros((90, 130), bool)
    for x0, y0, x1, y1 in crops:
        covered[y0:y1, x0:x1] = True
    assert len(crops) == 16 and covered.all()


def test_stability_of_known_logits():
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -2.0]], [[-3.0, -3.0], [-3.0, -3.0]]])
    found = geometry.stability(logits, 1.0)
    assert found[0].item() == pytest.approx(1 / 3)
    assert not (found[1] >= 0)  # 0 / 0 meets no threshold


def test_masks_that_a_crop_cuts_off_are_told():
    boxes = torch.tensor([[300, 200, 1190, 500], [0, 200, 900, 500]])
    assert geometry.cut_off(boxes, (0, 0, 1206, 966), (1440, 1920)).tolist() == [True, False]


def test_of_equal_boxes_the_better_stays():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]])
    assert geometry.suppress(boxes, torch.tensor([0.90, 0.95, 0.1]), 0.7).tolist() == [1, 2]


def test_boxes_of_masks_are_inclusive():
    masks = torch.zeros(3, 5, 7, dtype=torch.bool)
    masks[0, 1:4, 2:6] = masks[1, 4, 6] = True
    assert geometry.mask_boxes(masks).tolist() == [[2, 1, 5, 3], [6, 4, 6, 4], [0, 0, 0, 0]]


def test_upsampling_first_and_filtering_first_are_the_same():
    logits = torch.randn(6, 16, 16, generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([True, False, True, True, False, False])
    arguments = (64, geometry.input_size((30, 50), 64), (30, 50))
    whole = geometry.upsample(logits, *arguments)
    assert whole.shape == (6, 30, 50)
    torch.testing.assert_close(geometry.upsample(logits[keep], *arguments), whole[keep])
