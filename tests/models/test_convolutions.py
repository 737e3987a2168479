"""Convolutions of many maps in parts."""

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mmseg_uda.models import convolutions
from mmseg_uda.models.convolutions import FewAtOnce


class Batches(TorchFunctionMode):
    """Notes how many images each convolution takes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.conv2d:
            self.seen.append(len(args[0]))
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(convolutions, "LARGEST", 2 * 8 * 10 * 12)  # two images


def convolved(layer, images):
    with Batches() as batches, FewAtOnce():
        return layer(images), batches.seen


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 4, 1),
        nn.Conv2d(8, 8, 3, padding=6, dilation=6, groups=8, bias=False),
        nn.Conv2d(8, 4, 3, stride=2, padding=1),
    ],
    ids=["pointwise", "depthwise", "strided"],
)
@torch.no_grad()
def test_parts_give_the_same_maps(layer):
    images = torch.randn(5, 8, 10, 12, generator=torch.Generator().manual_seed(0))
    found, batches = convolved(layer, images)
    assert batches == [2, 2, 1]
    torch.testing.assert_close(found, layer(images), rtol=0, atol=1e-6)


def test_what_is_trained_or_small_is_convolved_at_once():
    layer, images = nn.Conv2d(8, 4, 1), torch.randn(5, 8, 10, 12)
    assert convolved(layer, images)[1] == [5]
    with torch.no_grad():
        assert convolved(layer, images[:2])[1] == [2]
