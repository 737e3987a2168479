"""What the component takes: memory, waiting, precision; and what must not change its numbers."""

import weakref

import pytest
import torch
from nano import optimizer, random_batch
from subdomains import LOW, SIZE, Recorder, gradients, total


def test_the_targets_graph_is_gone_before_the_mixed_pass(build):
    trainer = build("hrda", host=LOW)
    forward, alive = trainer.forward_student, []
    kept = []

    def forward_student(*args, **kwargs):
        alive.append([ref() is not None for ref in kept])
        kept.clear()
        output = forward(*args, **kwargs)
        kept.extend(weakref.ref(view.logits) for view in output.logits)
        kept.extend(weakref.ref(f) for view in output.features for f in view.features)
        return output

    trainer.forward_student = forward_student
    trainer.run_step(random_batch(0, size=SIZE), optimizer(trainer))
    assert len(alive) == 3 and len(alive[2]) > 2  # source, target, mixed
    assert not any(alive[2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_is_back_before_the_mixed_pass(build):
    trainer = build("hrda", host=LOW).cuda()
    step, forward, levels = random_batch(0, size=SIZE), trainer.forward_student, []

    def forward_student(*args, **kwargs):
        torch.cuda.synchronize()
        levels.append(torch.cuda.memory_allocated())
        return forward(*args, **kwargs)

    wrapper = optimizer(trainer)
    trainer.train_step(step, wrapper)
    trainer.forward_student = forward_student
    trainer.run_step(step, wrapper)
    target, mixed = levels[1:3]
    assert mixed - target < 2**20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("network", ["hrda", "dlv2"])
def test_the_step_never_waits_for_the_device(build, network):
    trainer = build(network, host=LOW, debug_interval=1).cuda()
    wrapper = optimizer(trainer)
    trainer.train_step(random_batch(0, size=SIZE), wrapper)
    batch = random_batch(1, size=SIZE)
    for part in batch.values():
        part["inputs"] = [image.cuda() for image in part["inputs"]]
        part["data_samples"] = [sample.cuda() for sample in part["data_samples"]]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.run_step(batch, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("network", ["hrda", "dlv2"])
def test_bfloat16_keeps_the_losses_in_float32(build, network):
    trainer = build(network, host=LOW)
    record = Recorder(trainer)
    trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer, amp="bf16"))
    assert record.uncertainty.dtype == torch.float32
    assert all(v.dtype == torch.float32 for n, v in record.losses.items() if "loss" in n)
    exact = build(network, host=LOW)
    reference = Recorder(exact)
    exact.train_step(random_batch(0, size=SIZE), optimizer(exact))
    assert total(record.losses).item() == pytest.approx(total(reference.losses).item(), rel=0.1)


@pytest.mark.parametrize(
    "execution", [dict(compile=dict(backend="eager")), dict(recompute="backbone")]
)
def test_other_ways_to_run_the_networks(build, execution):
    """Compiled or recomputed, the target's losses stay."""
    found = []
    for way in (None, execution):
        trainer = build("daformer", host=dict(LOW, execution=way))
        record = Recorder(trainer)
        trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
        found.append(total(record.losses).item())
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_pictures_do_not_change_the_training(build):
    plain, drawn = build("hrda", host=LOW), build("hrda", host=LOW)
    drawn.draws = True
    for one, other in zip(gradients(plain), gradients(drawn), strict=True):
        assert torch.equal(one, other)
