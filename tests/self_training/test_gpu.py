"""What only a GPU can show: nothing waits in a step, short types, fused kernels, compilation."""

import io
import math
from contextlib import contextmanager

import pytest
import torch
from mmengine.config import ConfigDict
from nano import nano_config, nano_hrda_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import NonFiniteError, ReferenceNameConstructor
from mmseg_uda.self_training import COMPONENTS, Component, SelfTraining

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SIZE = (64, 64)
LOW_MEMORY = dict(recompute=["backbone", "decode_head"], frozen_dtype="bf16", channels_last=True)


def segmentor(hrda, mit, dropout):
    cfg = nano_hrda_config() if hrda else nano_config(size=SIZE)
    cfg["decode_head"]["dropout_ratio"] = dropout
    if mit:
        cfg["backbone"] = dict(type="MiT", variant="b0", embed_dims=16, drop_path_rate=dropout)
        cfg["decode_head"]["in_channels"] = [16, 32, 80, 128]
    return ConfigDict(cfg)


def build(hrda=False, mit=False, masking=True, dropout=0.5, **options):
    """DAFormer, or with ``hrda`` HRDA, each with masked consistency unless that is off."""
    torch.manual_seed(0)
    if masking:
        options["masking"] = dict(
            type="MaskedConsistency", mode="separatetrgaug", block_size=8, alpha=0.9
        )
    trainer = SelfTraining(
        segmentor(hrda, mit, dropout),
        pseudo_threshold=0.2,
        # In every step, so that no step brings sizes that an earlier one did not have.
        jitter_probability=1.0,
        blur_probability=1.0,
        feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
        **options,
    )
    trainer.init_weights()
    return trainer.cuda().train()


def train(trainer, wrapper, steps, start=0, size=SIZE):
    logs = []
    for step in range(start, start + steps):
        logs.append(trainer.train_step(random_batch(step, size=size), wrapper))
    return [{name: float(value) for name, value in log.items()} for log in logs]


def near(log, other, tolerance):
    assert log.keys() == other.keys()
    for name in (name for name in log if "loss" in name):
        assert other[name] == pytest.approx(log[name], rel=tolerance), name


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@contextmanager
def no_waiting():
    """An operation that makes the host wait for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_guard_notices_waiting():
    value = torch.ones(1, device="cuda")
    with pytest.raises(RuntimeError, match="synchronizing"), no_waiting():
        value.item()


@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
@pytest.mark.parametrize("name", ["daformer", "hrda_mic", "mit"])
def test_a_step_never_waits_for_the_device(name, amp):
    """From the batch on the host to the optimizer's update, clipping included."""
    trainer = build(hrda=name == "hrda_mic", mit=name == "mit", masking=name == "hrda_mic")
    wrapper = optimizer(trainer, amp=amp, clip_grad=dict(max_norm=1.0))
    train(trainer, wrapper, 2)  # first calls set things up and may wait
    batches = [random_batch(step, size=SIZE) for step in (2, 3)]
    before = weights(trainer)
    with no_waiting():
        logs = [trainer.train_step(batch, wrapper) for batch in batches]
    assert not torch.equal(weights(trainer), before)
    assert all(torch.isfinite(v) for log in logs for n, v in log.items() if "loss" in n)


@pytest.mark.parametrize("execution", [LOW_MEMORY, dict(compile=True)])
def test_options_of_execution_bring_no_waiting(execution):
    if "compile" in execution:
        pytest.importorskip("triton")
    trainer = build(hrda=True, mit=True, execution=execution)
    wrapper = optimizer(trainer, amp="bf16")
    train(trainer, wrapper, 2)
    batch = random_batch(2, size=SIZE)
    with no_waiting():
        log = trainer.train_step(batch, wrapper)
    assert torch.isfinite(log["mix.decode.loss_seg"])


@pytest.mark.parametrize("hrda", [False, True])
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_short_types_stay_near_float32(hrda, amp):
    exact, short = build(hrda, dropout=0.0), build(hrda, dropout=0.0)
    wrapper = optimizer(short, amp=amp)
    (log,), (other,) = train(exact, optimizer(exact), 1), train(short, wrapper, 1)
    near(log, other, 0.1)
    train(short, wrapper, 5, start=1)
    states = list(wrapper.optimizer.state.values())
    assert {v.dtype for s in states for v in s.values()} == {torch.float32}
    assert {p.dtype for p in short.parameters()} == {torch.float32}
    assert torch.isfinite(weights(short)).all()


def test_a_step_on_the_gpu_is_one_on_the_cpu():
    gpu, cpu = build(dropout=0.0), build(dropout=0.0).to("cpu")
    (log,), (expected,) = train(gpu, optimizer(gpu), 1), train(cpu, optimizer(cpu), 1)
    near(expected, log, 0.02)  # convolutions may round to TF32, which moves labels


def test_fused_kernels_are_chosen_and_agree_with_plain_ones():
    trainers = build(), build()
    plain = dict(type="AdamW", lr=1e-3, weight_decay=0.01, fused=False, foreach=False)
    wrappers = optimizer(trainers[0]), ReferenceNameConstructor(dict(optimizer=plain))(trainers[1])
    kernels = [{group["fused"] for group in w.optimizer.param_groups} for w in wrappers]
    assert kernels == [{True}, {False}]
    before = weights(trainers[0])
    for _ in range(3):
        for parameters in zip(*(t.model.parameters() for t in trainers), strict=True):
            gradient = torch.randn_like(parameters[0])
            for parameter in parameters:
                parameter.grad = gradient.clone()
        for wrapper in wrappers:
            wrapper.optimizer.step()
    fused, other = (weights(trainer) for trainer in trainers)
    assert not torch.equal(fused, before)
    assert (fused - other).abs().max() < 1e-6


@pytest.mark.parametrize("amp", [None, "bf16", "fp16"])
def test_parameters_stay_as_they_were_from_a_bad_loss_on(amp):
    class Poison(Component):
        def target_losses(self, ctx, target, pseudo):
            scale = float("nan") if ctx.step == 2 else 1.0
            return {"loss_poison": next(ctx.host.model.parameters()).sum() * scale}

    COMPONENTS.register_module(name="Poison", module=Poison, force=True)
    try:
        trainer = build(poison=dict(type="Poison"))
    finally:
        COMPONENTS.module_dict.pop("Poison")
    wrapper = optimizer(trainer, amp=amp)
    train(trainer, wrapper, 2)
    before = weights(trainer)
    with pytest.raises(NonFiniteError, match="step 2: loss_poison"):
        for step in range(2, 20):  # the verdict is read a few steps later
            trainer.train_step(random_batch(step, size=SIZE), wrapper)
    assert torch.equal(weights(trainer), before)


@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_may_move_between_cpu_and_gpu(devices):
    first = build().to(devices[0])
    wrapper = optimizer(first, amp="bf16")
    train(first, wrapper, 2)
    file = io.BytesIO()
    torch.save(dict(model=first.state_dict(), optimizer=wrapper.state_dict()), file)
    file.seek(0)
    state = torch.load(file, map_location="cpu", weights_only=True)
    second = build().to(devices[1])
    second.load_state_dict(state["model"])
    resumed = optimizer(second, amp="bf16")
    resumed.load_state_dict(state["optimizer"])
    (log,) = train(second, resumed, 1, start=2)
    assert all(math.isfinite(value) for value in log.values())
    assert int(second.step) == 3


def test_recomputing_saves_memory_and_changes_nothing_but_rounding():
    size = (256, 256)
    peaks, logs, statistics = [], [], []
    for parts in ((), ("backbone", "decode_head")):
        trainer = build(mit=True, execution=dict(recompute=parts))
        wrapper = optimizer(trainer)
        logs += train(trainer, wrapper, 1, size=size)  # the libraries take their own memory once
        buffers = trainer.model.named_buffers()
        statistics.append({n: b.clone() for n, b in buffers if "running" in n})
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(trainer, wrapper, 1, start=1, size=size)
        peaks.append(torch.cuda.max_memory_allocated() - before)
    near(logs[0], logs[1], 1e-3)
    assert statistics[0]
    for name, value in statistics[0].items():
        assert torch.allclose(value, statistics[1][name], rtol=1e-3, atol=1e-5), name
    assert peaks[1] < 0.8 * peaks[0]


@pytest.mark.parametrize("amp", [None, "bf16"])
def test_a_compiled_network_gives_the_same_losses(amp):
    pytest.importorskip("triton")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    # Compiled code draws other numbers for dropout than the interpreter, hence none.
    plain = build(hrda=True, mit=True, dropout=0.0)
    compiled = build(hrda=True, mit=True, dropout=0.0, execution=dict(compile=True))
    (log,) = train(plain, optimizer(plain, amp=amp), 1)
    (other,) = train(compiled, optimizer(compiled, amp=amp), 1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    near(log, other, 1e-3 if amp is None else 0.1)
