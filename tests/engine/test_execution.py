"""Precision, memory and compilation as options of a config."""

import copy

import pytest
import torch
from fixed_run import config
from mmengine.config import ConfigDict
from nano import nano_config, nano_hrda_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import build_runner, wrap_model
from mmseg_uda.engine.execution import Execution
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import SelfTraining

SIZE = (64, 64)


def build(execution=None, hrda=True):
    torch.manual_seed(0)
    segmentor = ConfigDict(nano_hrda_config() if hrda else nano_config(size=SIZE))
    segmentor["decode_head"]["dropout_ratio"] = 0.5
    trainer = SelfTraining(
        segmentor,
        pseudo_threshold=0.2,
        feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
        masking=dict(type="MaskedConsistency", mode="separatetrg", block_size=8, alpha=0.9),
        execution=execution,
    )
    trainer.init_weights()
    return trainer.train()


def train(trainer, steps=3, amp=None, wrapper=None, start=0):
    wrapper = wrapper or optimizer(trainer, amp=amp)
    logs = []
    for step in range(start, start + steps):
        log = trainer.train_step(random_batch(step, size=SIZE), wrapper)
        logs.append({name: float(value) for name, value in log.items()})
    return logs


def near(log, other, tolerance):
    assert log.keys() == other.keys()
    for name in (name for name in log if "loss" in name):
        assert other[name] == pytest.approx(log[name], rel=tolerance), name


def first_step(trainer, amp=None):
    """The logged scalars and the gradient of the first step, as one vector."""
    wrapper = optimizer(trainer, amp=amp)
    kept = []

    def keep(hold):
        kept.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]))

    wrapper.update = keep
    return train(trainer, 1, wrapper=wrapper)[0], kept[0]


def same_first_step(plain, other, tolerance, amp=None):
    (log, gradient), (other_log, other_gradient) = first_step(plain, amp), first_step(other, amp)
    near(log, other_log, tolerance)
    assert (gradient - other_gradient).norm() < tolerance * gradient.norm()


def test_each_option_reaches_its_place(tmp_path):
    cfg = config(tmp_path)
    cfg.execution = dict(amp="bf16", batch_pixels=1000, recompute="backbone", frozen_dtype="bf16")
    wrapped = wrap_model(cfg)
    assert wrapped.optim_wrapper.amp == "bf16"
    assert wrapped.model.segmentor.test_cfg == dict(mode="whole", batch_pixels=1000)
    assert wrapped.model.execution == dict(recompute="backbone", frozen_dtype="bf16")
    assert "amp" not in cfg.optim_wrapper and "batch_pixels" not in cfg.model.test_cfg
    runner = build_runner(cfg)
    runner.train()
    assert runner.optim_wrapper.amp == "bf16"
    assert runner.model.execution.recompute == ("backbone",)


def test_the_optimizer_wrappers_precision_comes_first(tmp_path):
    cfg = config(tmp_path)
    cfg.execution = dict(amp="bf16")
    cfg.optim_wrapper.amp = "fp16"  # as tools/train.py --amp sets it
    assert wrap_model(cfg).optim_wrapper.amp == "fp16"


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(recomptue=True), "execution.recomptue .*\n.*recompute"),
        (dict(recompute=["neck"]), "'neck' is unknown"),
        (dict(frozen_dtype="int8"), "execution.frozen_dtype='int8'"),
        (dict(compile=dict(backened="eager")), "execution.compile.backened .*\n.*backend"),
        (dict(compile=dict(backend="gcc")), "backend='gcc' is unknown"),
        (dict(compile=dict(mode="default", options=dict(a=1))), "both a mode and options"),
    ],
)
def test_impossible_options_are_named(options, words):
    with pytest.raises(UserError, match=words):
        build(options)


def test_mmengines_compilation_of_the_whole_step_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.compile = dict(backend="eager")
    with pytest.raises(UserError, match="execution.compile"):
        wrap_model(cfg)


@pytest.mark.parametrize("amp", [None, "bf16"])
def test_recomputing_changes_nothing(amp):
    plain, recomputed = build(), build(dict(recompute=["backbone", "decode_head"]))
    assert train(plain, amp=amp) == train(recomputed, amp=amp)
    state, other = plain.state_dict(), recomputed.state_dict()
    assert state.keys() == other.keys()
    for name in state:
        assert torch.equal(state[name], other[name]), name


def test_channels_last():
    same_first_step(build(), build(dict(channels_last=True)), 1e-4)
    other = build(dict(channels_last=True))
    train(other)
    for network in (other.model, other.ema_model):
        convolutions = [p for p in network.parameters() if p.dim() == 4]
        assert convolutions
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)
    plain = build()  # checkpoints fit either way
    plain.load_state_dict(other.state_dict())
    (log,), (other_log,) = train(plain, 1, start=3), train(other, 1, start=3)
    near(log, other_log, 1e-4)


def test_frozen_networks_in_half_precision():
    exact, short = build(), build(dict(frozen_dtype="bf16"))
    for log, other in zip(train(exact), train(short), strict=True):
        near(log, other, 0.02)
    distance = short.components["feature_distance"]
    kinds = {p.dim() > 1: p.dtype for p in distance.reference.network.parameters()}
    assert kinds == {True: torch.bfloat16, False: torch.float32}
    assert {p.dtype for p in short.model.parameters()} == {torch.float32}
    # The fingerprint is that of the weights as loaded, so a resume may change the option.
    assert torch.equal(distance.fingerprint, exact.components["feature_distance"].fingerprint)
    before = build(dict(frozen_dtype="bf16"))
    before.components["feature_distance"].after_weights(before)  # a second time
    assert torch.equal(before.components["feature_distance"].fingerprint, distance.fingerprint)


class TestCompilation:
    OPTIONS = dict(compile=dict(backend="aot_eager"))

    @pytest.fixture(autouse=True)
    def _fresh(self):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        yield
        torch._dynamo.reset()

    @pytest.mark.parametrize(
        "extra, amp",
        [({}, None), ({}, "bf16"), (dict(recompute=["backbone", "decode_head"]), "bf16")],
    )
    def test_losses_are_those_of_the_plain_network(self, extra, amp):
        plain, compiled = build(), build({**self.OPTIONS, **extra})
        same_first_step(plain, compiled, 1e-4 if amp is None else 0.02, amp)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
        assert not torch._dynamo.utils.counters["graph_break"]
        state, other = plain.state_dict(), compiled.state_dict()
        assert state.keys() == other.keys()
        for name in (n for n in state if n.endswith("num_batches_tracked")):
            assert torch.equal(state[name], other[name]), name

    def test_a_resumed_run_goes_on(self):
        whole = build(self.OPTIONS, hrda=False)
        train(whole, 3)
        first = build(self.OPTIONS, hrda=False)
        wrapper = optimizer(first)
        train(first, 2, wrapper=wrapper)
        second = build(self.OPTIONS, hrda=False)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        resumed = optimizer(second)
        resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
        train(second, 1, wrapper=resumed, start=2)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), name

    def test_only_the_students_training_passes_are_compiled(self):
        trainer = build(self.OPTIONS, hrda=False)
        train(trainer, 1)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        trainer.eval()
        image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
        sample = random_batch(0, batch=1)["source"]["data_samples"][0]
        sample.set_metainfo(dict(ori_shape=(96, 128)))
        with torch.no_grad():
            trainer.val_step(dict(inputs=[image], data_samples=[sample]))
        copy.deepcopy(trainer.model)(torch.randn(1, 3, 64, 64))
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs

    def test_without_a_compiler_the_training_goes_on_and_says_why(self, monkeypatch):
        def backend(graph, inputs):
            raise RuntimeError("No working C++ compiler found\nmore")

        messages = []
        monkeypatch.setattr(
            "mmseg_uda.engine.compilation.print_log", lambda text, **_: messages.append(text)
        )
        broken = build(hrda=False)
        broken.execution = Execution(compile=dict(backend=backend))
        assert train(broken, 1) == train(build(hrda=False), 1)
        (message,) = messages
        assert "No working C++ compiler found" in message and "Triton" in message
        assert "raised" not in message and "more" not in message
