"""What only a GPU can show."""

import pytest
import torch
from depth_tasks import OPEN, component, depth_batch
from depth_world import blocks, write_bank
from nano import nano_hrda_config, optimizer

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.methods.cdda import ResidentSearch, depth_histogram, reweight
from mmseg_uda.self_training import SelfTraining

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SIZE = (64, 64)


@pytest.fixture
def trainer(tmp_path):
    labels = [blocks(seed, *SIZE, [0, 8, 13, 18], side=16) for seed in range(3)]
    bank = write_bank(tmp_path / "bank", labels, [20 + 10 * (label // 4) for label in labels])
    torch.manual_seed(0)
    trainer = SelfTraining(
        nano_hrda_config(19, SIZE),
        pseudo_threshold=0.055,
        depth=component(bank, **OPEN),
        masking=dict(type="MaskedConsistency", mode="separatetrgaug", block_size=16),
    )
    trainer.init_weights()
    return trainer.cuda().train()


def test_histograms_are_those_of_the_cpu():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 20, (2, 512, 512), generator=generator)
    depth = torch.rand(2, 512, 512, generator=generator) * 256
    assert torch.equal(
        depth_histogram(label.cuda(), depth.cuda(), 19).cpu(), depth_histogram(label, depth, 19)
    )


def test_matches_are_those_of_the_cpu_under_tf32_and_autocast(random_bank):
    bank, target = random_bank
    bank, target = bank * 200, target * 200
    expected = ResidentSearch(bank)(target)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cuda", torch.float16):
            found = ResidentSearch(bank.cuda())(target.cuda())
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found.index.cpu(), expected.index)
    torch.testing.assert_close(found.score.cpu(), expected.score, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.similarity.cpu(), expected.similarity, atol=1e-12, rtol=0)


def test_the_search_and_the_weights_never_wait(random_bank):
    bank, target = random_bank
    search, target = ResidentSearch(bank.cuda()), target.cuda()
    label = torch.randint(0, 19, (3, 64, 64), device="cuda")
    depth = torch.rand(3, 64, 64, device="cuda") * 256
    weight, confident = torch.rand_like(depth), depth > 100
    for mode in ("default", "error"):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            depth_histogram(label, depth, 19)
            match = search(target)
            for mask in ("class", "first_row"):
                reweight(weight, label, confident, match.similarity, mask=mask)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_the_step_waits_once(trainer):
    """Everything but reading the decision runs under the mode that forbids waiting."""
    from mmseg_uda.methods.cdda import depth_similarity

    wrapper = optimizer(trainer)
    trainer.train_step(depth_batch(0, size=SIZE), wrapper)  # first-call set-up may wait
    batch = depth_batch(1, size=SIZE)
    for part in batch.values():
        part["inputs"] = [image.cuda() for image in part["inputs"]]
        part["data_samples"] = [sample.cuda() for sample in part["data_samples"]]
    read, waits = depth_similarity.read_decision, []

    def allowed(*args):
        waits.append(1)
        torch.cuda.set_sync_debug_mode("default")
        try:
            return read(*args)
        finally:
            torch.cuda.set_sync_debug_mode("error")

    depth_similarity.read_decision = allowed
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.run_step(batch, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        depth_similarity.read_decision = read
    assert waits == [1]


@pytest.mark.parametrize("device", ["cuda", "cpu", "mmap"])
@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_every_search_device_and_precision_trains(trainer, device, amp):
    trainer.components["depth"].search_device = device
    wrapper = optimizer(trainer, amp=amp)
    for step in range(2):
        log = trainer.train_step(depth_batch(step, size=SIZE), wrapper)
    assert torch.isfinite(torch.as_tensor(log["target.loss_guidance"]))
    assert torch.isfinite(log["mix.decode.loss_seg"])


def test_a_search_allocates_scores_only():
    bank = torch.zeros(19, 20000, 256, device="cuda")
    bank[:, :, :4] = 1
    search, target = ResidentSearch(bank), bank[:, :2].transpose(0, 1).contiguous()
    search(target)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    search(target)
    assert torch.cuda.max_memory_allocated() - before < 100 * 2**20
