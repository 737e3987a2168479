import pytest
import torch
from nano import optimizer, random_batch
from subdomains import NETWORKS, SIZE, UNCERTAINTY, subdomains

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.self_training import SelfTraining


@pytest.fixture
def build():
    """Builds a trainer in train mode; weights are the same for every call."""

    def make(network="hrda", host=None, segmentor=None, **options):
        torch.manual_seed(0)
        if network in UNCERTAINTY and "uncertainty" not in options:
            options["uncertainty"] = dict(UNCERTAINTY[network])
        trainer = SelfTraining(
            segmentor or NETWORKS[network](), subdomains=subdomains(**options), **(host or {})
        )
        trainer.init_weights()
        return trainer.train()

    return make


@pytest.fixture
def step():
    """Runs one optimizer step and returns the scalars."""

    def run(trainer, seed=0, wrapper=None, **options):
        batch = random_batch(seed, size=SIZE, **options)
        return trainer.train_step(batch, wrapper or optimizer(trainer))

    return run
