"""What stays in float32 when a step runs in bf16."""

from collections import defaultdict

import pytest
import torch
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from torch.overrides import TorchFunctionMode

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.self_training import SelfTraining

SIZE = (64, 64)
EXACT = (
    "softmax",
    "cross_entropy",
    "sigmoid",
    "linalg_vector_norm",
    "ge",
    "_foreach_lerp_",
    "isfinite",
)
NETWORKS = ("daformer", "hrda", "dlv2", "hrda_dlv2", "segformer")


def segmentor(name):
    cfg = nano_hrda_config() if name.startswith("hrda") else nano_config(size=SIZE)
    head = cfg["decode_head"]
    shared = {k: head[k] for k in ("num_classes", "loss_decode")}
    if name.endswith("dlv2"):
        decoder = dict(in_channels=24, in_index=3, dilations=(1, 2), **shared)
        if name == "hrda_dlv2":
            # A stride of 8, as the dilated ResNet has; HRDA's grids follow from it.
            decoder.update(in_index=1, in_channels=12)
            extra = dict(single_scale_head="DLV2Head", hr_loss_weight=0.1)
            cfg["decode_head"] = dict(type="HRDAHead", **extra, **decoder)
            cfg["crop_coord_divisible"] = 16
        else:
            cfg["decode_head"] = dict(type="DLV2Head", **decoder)
    elif name == "segformer":
        cfg["decode_head"] = dict(
            type="SegFormerHead",
            in_channels=head["in_channels"],
            decoder_params=dict(embed_dim=16),
            **shared,
        )
    return cfg


def build(name):
    torch.manual_seed(0)
    trainer = SelfTraining(
        segmentor(name),
        pseudo_threshold=0.2,
        jitter_probability=1.0,
        blur_probability=1.0,
        feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
        masking=dict(type="MaskedConsistency", mode="separatetrgaug", block_size=8, alpha=0.9),
    )
    trainer.init_weights()
    return trainer.train()


class Precisions(TorchFunctionMode):
    """Notes the float types that functions are called with and return."""

    def __init__(self):
        super().__init__()
        self.inputs, self.outputs = defaultdict(set), defaultdict(set)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        flat = [a for arg in args for a in (arg if isinstance(arg, (list, tuple)) else [arg])]
        floats = [a for a in flat if isinstance(a, torch.Tensor) and a.is_floating_point()]
        self.inputs[name] |= {a.dtype for a in floats}
        if isinstance(result, torch.Tensor):
            self.outputs[name].add(result.dtype)
        return result


@pytest.mark.parametrize("name", NETWORKS)
def test_decisions_and_losses_are_float32(name):
    trainer = build(name)
    wrapper = optimizer(trainer, amp="bf16")
    train(trainer, wrapper, 1)
    seen, images = Precisions(), []
    forward = trainer.forward_student
    trainer.forward_student = lambda image, *a, **k: (
        images.append(image.dtype) or forward(image, *a, **k)
    )
    with seen:
        trainer.train_step(random_batch(1, size=SIZE), wrapper)
    assert torch.bfloat16 in seen.outputs["conv2d"]  # mixed precision is at work
    expected = {"softmax", "cross_entropy", "linalg_vector_norm", "ge", "_foreach_lerp_"}
    if name.startswith("hrda"):
        expected.add("sigmoid")
    assert expected <= seen.inputs.keys()
    for function in EXACT:
        assert seen.inputs[function] <= {torch.float32}, function
    assert images == [torch.float32] * 3  # source, mixed, masked


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_near_those_of_float32(name):
    logs = []
    for amp in (None, "bf16"):
        trainer = build(name)
        logs.append(train(trainer, optimizer(trainer, amp=amp), 1))
    exact, mixed = logs
    assert exact.keys() == mixed.keys()
    for key in (key for key in exact if "loss" in key):
        assert mixed[key].dtype == torch.float32
        assert mixed[key].item() == pytest.approx(exact[key].item(), rel=0.05), key


def train(trainer, wrapper, steps):
    for step in range(steps):
        log = trainer.train_step(random_batch(step, size=SIZE), wrapper)
    return log


def test_hrda_fuses_in_float32():
    trainer = build("hrda")
    image = torch.randn(2, 3, *SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        output = trainer.model.training_forward(image, trainer.random.crop_offset)
        predicted = trainer.model._predict(image)
    fused, detail = output.logits
    assert fused.logits.dtype == torch.float32
    assert detail.logits.dtype == torch.bfloat16  # straight from the decoder
    for part in (predicted.fused, predicted.lr, predicted.attention):
        assert part.dtype == torch.float32
