"""The component never makes the host wait for a value."""

import pytest
import torch
from nano import optimizer, random_batch
from operations import HostNumbers, Operations
from subdomains import LOW, RELEASED, SIZE

from mmseg_uda.methods.ssda import GTA_PRIOR, class_quota, seed_mask


@pytest.mark.parametrize("ties", ["include", "exclude"])
@pytest.mark.parametrize("scope", ["batch", "image"])
def test_selection(ties, scope):
    uncertainty, label = torch.rand(2, 16, 16), torch.randint(0, 19, (2, 16, 16))
    quota = class_quota(GTA_PRIOR)
    with Operations() as operations:
        seed_mask(uncertainty, label, quota, ties=ties, scope=scope, valid=label > 3)
    assert len(operations.sizes) > 10 and operations.waits == []


def test_selection_sorts_once_whatever_the_number_of_classes():
    counts = []
    for classes in (2, 19, 150):
        label = torch.randint(0, classes, (1, 32, 32))
        with Operations() as operations:
            seed_mask(torch.rand(1, 32, 32), label, torch.full((classes,), 0.5))
        names = [str(name) for name, _ in operations.sizes]
        counts.append((len(names), sum("sort" in n and "search" not in n for n in names)))
    assert len(set(counts)) == 1 and counts[0][1] == 1


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("hrda", {}),
        ("hrda", RELEASED),
        ("dlv2", {}),
        ("daformer", {"ties": "exclude", "scope": "image"}),
    ],
)
def test_whole_step(build, network, options):
    trainer = build(network, host=LOW, debug_interval=1, **options)
    trainer.random = HostNumbers()
    wrapper = optimizer(trainer)
    trainer.train_step(random_batch(0, size=SIZE), wrapper)
    batch = random_batch(1, size=SIZE)
    with Operations() as operations:
        trainer.run_step(batch, wrapper)
    assert len(operations.sizes) > 1000
    assert operations.waits == []
