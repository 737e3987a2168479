"""Copies of panels: what is kept, at which size, in which units."""

import torch

from mmseg_uda.engine.panels import BarsPanel, Boxes, ImagePanel, LabelPanel, MapPanel
from mmseg_uda.visualization import Snapshot


def keep(panel, images=2, side=1000):
    return Snapshot([panel], images, side).wait()[0]


def test_images_become_bytes_and_are_clipped():
    image = torch.tensor([-0.5, 0.0, 0.5, 1.7]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    kept = keep(ImagePanel("image", image)).image
    assert kept.dtype == torch.uint8
    assert kept[0, 0].tolist() == [[0, 0], [128, 255]]


def test_ids_outside_a_byte_are_unlabelled():
    kept = keep(LabelPanel("label", torch.tensor([[[0, 18], [-1, 3000]]]))).label
    assert kept.dtype == torch.uint8
    assert kept.tolist() == [[[0, 18], [255, 255]]]


def test_only_the_wanted_images_travel():
    assert len(keep(LabelPanel("label", torch.zeros(4, 2, 2, dtype=torch.long))).label) == 2
    assert keep(BarsPanel("bars", {"a": torch.zeros(4, 3)})).series["a"].shape == (2, 3)
    assert keep(BarsPanel("bars", {"a": torch.zeros(3)})).series["a"].shape == (3,)


def test_large_pictures_shrink_with_their_boxes():
    corners = torch.tensor([[0, 10, 20, 30, 40]])
    panel = ImagePanel("image", torch.rand(1, 3, 100, 200), boxes=Boxes(corners))
    kept = keep(panel, side=100)
    assert kept.image.shape == (1, 3, 50, 100)
    assert kept.boxes.corners.tolist() == [[0, 5, 10, 15, 20]]
    assert keep(LabelPanel("label", torch.zeros(1, 100, 200)), side=100).label.shape == (1, 50, 100)


def test_a_reduced_map_is_the_mean_of_its_pixels():
    values = torch.arange(16.0).view(1, 4, 4)
    kept = keep(MapPanel("map", values), side=2).values
    assert kept.tolist() == [[[2.5, 4.5], [10.5, 12.5]]]


def test_masks_are_maps_of_0_and_1():
    kept = keep(MapPanel("mask", torch.tensor([[[True, False]]]))).values
    assert kept.tolist() == [[[1.0, 0.0]]]


def test_a_tensor_that_changes_later_is_shown_as_it_was():
    values = torch.zeros(1, 2, 2)
    weights = torch.zeros(3)
    snapshot = Snapshot([MapPanel("map", values), BarsPanel("bars", {"a": weights})], 1, 10)
    values += 1
    weights += 1
    shown = snapshot.wait()
    assert shown[0].values.sum() == 0
    assert shown[1].series["a"].sum() == 0


def test_shown_tensors_leave_the_graph():
    values = torch.rand(1, 2, 2, requires_grad=True) * 2
    assert not keep(MapPanel("map", values)).values.requires_grad
