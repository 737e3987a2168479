"""A2 of the method's acceptance checks, and exact depth values."""

import pytest
import torch

from mmseg_uda.methods.cdda import depth_histogram
from mmseg_uda.methods.cdda.histogram import coarsened, whole_bins

LABEL = torch.tensor([[[0, 0, 1], [255, 1, 1]]])
DEPTH = torch.tensor([[[10.9, 10.0, 20.0], [5.0, 21.5, 255.0]]])


def nonzero(histogram):
    return {tuple(i): int(histogram[tuple(i)]) for i in histogram.nonzero().tolist()}


@pytest.fixture(params=["opencv", "scatter"])
def histogram(request, monkeypatch):
    if request.param == "scatter":
        monkeypatch.setattr("mmseg_uda.methods.cdda.histogram._DROPPED", -1)
    return depth_histogram


def test_depth_is_truncated_and_ignored_pixels_are_dropped(histogram):
    counts = histogram(LABEL, DEPTH, 2)
    assert counts.shape == (1, 2, 256) and counts.dtype == torch.int32
    assert nonzero(counts[0]) == {(0, 10): 2, (1, 20): 1, (1, 21): 1, (1, 255): 1}
    assert counts.sum() == 5


def test_counts_of_a_million_pixels_are_exact(histogram):
    label = torch.full((1, 1024, 1024), 3)
    depth = torch.full((1, 1024, 1024), 77.7)
    assert nonzero(histogram(label, depth, 19)[0]) == {(3, 77): 1048576}


def test_a_batch_equals_its_images(histogram):
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 20, (3, 40, 50), generator=generator)
    label[label == 19] = 255
    depth = torch.rand(3, 40, 50, generator=generator) * 256
    together = histogram(label, depth, 19)
    for i in range(3):
        assert torch.equal(together[i : i + 1], histogram(label[i : i + 1], depth[i : i + 1], 19))
    assert (together.sum((1, 2)) == (label != 255).sum((1, 2))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_both_implementations_agree(dtype, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 19, (2, 64, 64), generator=generator)
    depth = (torch.rand(2, 64, 64, generator=generator) * 255).to(dtype)
    valid = torch.rand(2, 64, 64, generator=generator) > 0.3
    fast = depth_histogram(label, depth, 19, valid)
    monkeypatch.setattr("mmseg_uda.methods.cdda.histogram._DROPPED", -1)
    assert torch.equal(fast, depth_histogram(label, depth, 19, valid))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_of_every_integer_type_stay_as_they_are(histogram, dtype):
    label = LABEL.to(dtype)
    valid = torch.tensor([[[True, False, True], [True, True, True]]])
    expected = histogram(LABEL, DEPTH, 2, valid)
    assert torch.equal(histogram(label, DEPTH, 2, valid), expected) and expected.sum() == 4
    assert torch.equal(label, LABEL.to(dtype))


def test_depth_outside_the_bins_and_invalid_pixels_are_dropped(histogram):
    label = torch.zeros(1, 1, 4, dtype=torch.int64)
    depth = torch.tensor([[[256.0, -0.5, 3.0, 4.0]]])
    valid = torch.tensor([[[True, True, True, False]]])
    assert nonzero(histogram(label, depth, 1, valid)[0]) == {(0, 3): 1}


def test_whole_bins_leave_fractions_out():
    counts = whole_bins(torch.tensor([[[10.25, 20.0]]]))
    assert nonzero(counts[0]) == {(20,): 1}
    assert nonzero(whole_bins(torch.tensor([[[7, 7]]], dtype=torch.uint8))[0]) == {(7,): 2}


def test_fewer_bins_hold_the_same_pixels(histogram):
    counts = histogram(LABEL, DEPTH, 2)
    coarse = coarsened(counts, 8)  # of 32 depths each
    assert coarse.shape == (1, 2, 8) and coarse.dtype == counts.dtype
    assert nonzero(coarse[0]) == {(0, 0): 2, (1, 0): 2, (1, 7): 1}
    assert coarsened(counts, 256) is counts
