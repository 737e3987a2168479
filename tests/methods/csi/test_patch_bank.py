"""The latest relabelled patches, kept for pictures."""

import torch

from mmseg_uda.methods.csi import Region
from mmseg_uda.methods.csi.patch_bank import PATCH, PatchBank


def add(bank, *shades, accepted=True):
    """One box per shade of grey, all of entry 1."""
    images = torch.stack([torch.full((3, 8, 8), s) for s in shades])
    regions = [Region(i, 0, 0, 8, 8, entry=1) for i in range(len(shades))]
    bank.add(images, regions, torch.full((len(shades),), accepted))


def shades(bank, entry):
    sheet = bank.sheet(entry)[0, 0]
    return [round(float(sheet[0, x])) if sheet[0, x] in (0, 1) else round(float(sheet[0, x]), 1)
            for x in range(0, sheet.shape[1], PATCH)]  # fmt: skip


def test_first_in_first_out_by_entry():
    bank = PatchBank(2, capacity=3)
    add(bank, 0.2, 0.4, 0.6)
    add(bank, 0.8)
    assert shades(bank, 1) == [0.8, 0.4, 0.6]
    assert shades(bank, 0) == [0, 0, 0]


def test_rejected_boxes_push_nothing_out():
    bank = PatchBank(2, capacity=2)
    add(bank, 0.2, 0.4)
    add(bank, 1.0, 1.0, 1.0, accepted=False)
    assert shades(bank, 1) == [0.2, 0.4]


def test_sheet_has_rows_of_five():
    assert PatchBank(1, capacity=7).sheet(0).shape == (1, 3, 2 * PATCH, 5 * PATCH)


def test_no_state_in_a_checkpoint():
    assert not PatchBank(1, capacity=7).state_dict()
