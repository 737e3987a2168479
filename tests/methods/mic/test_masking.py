"""The patch mask of masked image consistency."""

import pytest
import torch

from mmseg_uda.errors import UserError
from mmseg_uda.methods.mic import MaskedConsistency, mask_image
from mmseg_uda.self_training import StepRandom


class RecordingRandom(StepRandom):
    def kept_patches(self, batch_size, rows, columns, mask_ratio, device):
        self.grid = (rows, columns)
        return super().kept_patches(batch_size, rows, columns, mask_ratio, device)


@pytest.mark.parametrize(
    "height, width, block, grid",
    [(1024, 1024, 64, (16, 16)), (512, 512, 32, (16, 16)), (1080, 1920, 64, (17, 30))],
)
def test_grid(height, width, block, grid):
    random = RecordingRandom(0)
    mask_image(torch.ones(1, 1, height, width), block, 0.7, random)
    assert random.grid == grid


def test_patches_are_blank_or_untouched():
    image = torch.rand(2, 3, 64, 64) + 1
    masked = mask_image(image, 16, 0.7, StepRandom(1))
    for patch, original in zip(_patches(masked), _patches(image), strict=True):
        assert torch.equal(patch, original) or torch.equal(patch, torch.zeros_like(patch))
    assert not torch.equal(masked[0] == 0, masked[1] == 0)  # independent per image


def _patches(image):
    return image.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def test_share_of_kept_patches():
    kept = StepRandom(2).kept_patches(1, 100, 100, 0.7, torch.device("cpu"))
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.mean().item() == pytest.approx(0.3, abs=0.02)


def test_ratio_zero_keeps_everything():
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(mask_image(image, 8, 0.0, StepRandom(3)), image)


@pytest.mark.parametrize("options", [dict(mode="both"), dict(mask_ratio=1.0), dict(block_size=0)])
def test_impossible_options(options):
    with pytest.raises(UserError, match="uda.masking"):
        MaskedConsistency(**options)
