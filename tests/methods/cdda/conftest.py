"""Histograms with known results, and a bank of three crops."""

import pytest
import torch
from depth_world import halves, write_bank


def histogram(entries, num_classes=3):
    """``{class: {bin: pixels}}`` as (C, 256) float32."""
    counts = torch.zeros(num_classes, 256)
    for c, bins in entries.items():
        for k, pixels in bins.items():
            counts[c, k] = pixels
    return counts


@pytest.fixture
def counts():
    return histogram


@pytest.fixture
def small_bank():
    """Five entries of check A3, (C, N, 256), and the target (1, C, 256)."""
    entries = [
        {0: {10: 4}, 1: {20: 3, 21: 1}},
        {0: {10: 2, 11: 2}, 1: {20: 4}, 2: {30: 8}},
        {2: {30: 16}},
        {0: {200: 4}, 1: {100: 4}},
        {0: {10: 8}, 1: {20: 6, 21: 2}},
    ]
    bank = torch.stack([histogram(e) for e in entries], dim=1)
    return bank, bank[:, 0][None].clone()


@pytest.fixture
def fixture_bank():
    """The deterministic fixture of check A5: bank (19, 5, 256) and target (1, 19, 256)."""
    n = torch.arange(5).view(1, 5, 1)
    c = torch.arange(19).view(19, 1, 1)
    k = torch.arange(256).view(1, 1, 256)
    bank = torch.where((n + c) % 3 != 0, ((n + 1) * (c + 2) * (k + 3)) % 7, 0)
    c, k = c[:, 0], k[:, 0]
    target = torch.where(c % 4 != 3, ((c + 1) * (k + 2)) % 5, 0)
    return bank.float(), target.float()[None]


@pytest.fixture
def random_bank():
    """Sparse random histograms (19, 300, 256), targets (3, 19, 256) close to some of them."""
    generator = torch.Generator().manual_seed(0)
    shape = (19, 300, 256)
    bank = torch.randint(0, 4000, shape, generator=generator).float()
    bank *= torch.rand(shape, generator=generator) < 0.2
    bank *= torch.rand(19, 300, 1, generator=generator) < 0.6
    noise = torch.randint(0, 900, (3, 19, 256), generator=generator).float()
    target = bank[:, [5, 170, 299]].transpose(0, 1) + noise
    return bank, target * (torch.rand(3, 19, 1, generator=generator) < 0.7)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Entry 0: road near, car far. Entry 1: road and sky. Entry 2: vegetation and unlabelled."""
    labels = [halves(0, 13), halves(0, 10), halves(8, 255)]
    depths = [halves(20, 200), halves(20, 250), halves(100, 100)]
    return write_bank(tmp_path_factory.mktemp("bank") / "bank", labels, depths)
