"""What only a GPU can show."""

import pytest
import torch
from nano import nano_hrda_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.self_training import SelfTraining

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def trainer():
    torch.manual_seed(0)
    trainer = SelfTraining(
        nano_hrda_config(),
        feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
        masking=dict(type="MaskedConsistency", mode="separatetrgaug", block_size=8),
    )
    trainer.init_weights()
    return trainer.cuda().train()


def test_the_step_never_waits_for_the_device(trainer):
    wrapper = optimizer(trainer)
    trainer.train_step(random_batch(0, size=(64, 64)), wrapper)  # first-call set-up may wait
    batch = random_batch(1, size=(64, 64))
    for part in batch.values():
        part["inputs"] = [image.cuda() for image in part["inputs"]]
        part["data_samples"] = [sample.cuda() for sample in part["data_samples"]]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.run_step(batch, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision(trainer, amp):
    wrapper = optimizer(trainer, amp=amp)
    for step in range(3):
        log = trainer.train_step(random_batch(step, size=(64, 64)), wrapper)
    assert torch.isfinite(log["mix.decode.loss_seg"])
