"""Random choices as the reference's golden steps make them."""

import torch

from mmseg_uda.self_training import StepRandom


class PinnedRandom(StepRandom):
    def apply_color_jitter(self, probability):
        return False

    def apply_blur(self, probability):
        return False

    def class_ranks(self, batch_size, num_ids, device):
        return torch.arange(num_ids, device=device).float().expand(batch_size, -1)

    def crop_offset(self, rows, columns):
        return rows // 2, columns // 2

    def kept_patches(self, batch_size, rows, columns, mask_ratio, device):
        row = torch.arange(rows).view(-1, 1)
        column = torch.arange(columns).view(1, -1)
        kept = ((row + 2 * column) % 3 == 0).float()
        return kept.expand(batch_size, 1, rows, columns).to(device)
