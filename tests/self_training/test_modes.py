"""Which networks run in which mode during a step, and how often."""

import copy

import pytest
import torch
from mmcv.cnn.bricks.drop import DropPath
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from operations import HostNumbers, Operations
from torch import nn

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.methods.daformer import downscale_label
from mmseg_uda.self_training import EmaTeacher, SelfTraining

DISTANCE = dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.25)
MASKING = dict(type="MaskedConsistency", mode="separatetrg", block_size=8)
RANDOM_LAYERS = (nn.modules.dropout._DropoutNd, DropPath, nn.MultiheadAttention)


def build(segmentor, **components):
    torch.manual_seed(0)
    trainer = SelfTraining(segmentor, feature_distance=DISTANCE, **components)
    trainer.init_weights()
    return trainer.train()


def dropping():
    """A Mix Transformer with every kind of dropout, and BatchNorm in its decoder."""
    cfg = nano_config(dropout=0.5, size=(64, 64))
    cfg["backbone"] = dict(
        type="MiT",
        variant="b0",
        embed_dims=8,
        num_layers=(1, 1, 1, 2),
        drop_rate=0.3,
        attn_drop_rate=0.4,
        drop_path_rate=0.5,
    )
    cfg["decode_head"]["in_channels"] = [8, 16, 40, 64]
    return cfg


def watch(network, seen):
    for module in network.modules():
        module.register_forward_hook(lambda m, *_: seen.append((m, m.training)))


def test_modes_while_labelling_and_comparing():
    trainer = build(dropping())
    reference = trainer.components["feature_distance"].reference.network
    before = copy.deepcopy(reference.state_dict())
    teacher, imnet, student = [], [], []
    watch(trainer.ema_model, teacher)
    watch(reference, imnet)
    watch(trainer.model, student)
    wrapper = optimizer(trainer)
    for step in range(2):
        trainer.train()  # mmengine's loop does so before every step
        trainer.train_step(random_batch(step, size=(64, 64)), wrapper)
    modes = {
        kind: {training for m, training in teacher if isinstance(m, kind)}
        for kind in (nn.modules.dropout._DropoutNd, DropPath, nn.BatchNorm2d)
    }
    assert list(modes.values()) == [{False}, {False}, {True}]
    layers = [m for m in trainer.ema_model.modules() if isinstance(m, RANDOM_LAYERS)]
    assert any(isinstance(m, nn.MultiheadAttention) and m.dropout == 0.4 for m in layers)
    assert not any(m.training for m in layers)
    assert not any(p.requires_grad for p in trainer.ema_model.parameters())
    assert {training for _, training in imnet} == {False}
    assert all(torch.equal(v, before[k]) for k, v in reference.state_dict().items())
    assert all(training for _, training in student)


def test_the_teacher_labels_without_chance():
    trainer = build(dropping())
    image = torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    first = trainer.teacher.logits(image)
    torch.manual_seed(2)
    assert torch.equal(first, trainer.teacher.logits(image))
    assert not first.requires_grad


@pytest.mark.parametrize("masking", [None, MASKING, dict(MASKING, alpha=0.9)])
def test_passes_of_a_step(masking):
    """Source and distance share a backward pass; a shared teacher labels once."""
    trainer = build(nano_config(size=(64, 64)), masking=masking)
    wrapper = optimizer(trainer)
    passes = {"student": 0, "teacher": 0, "own": 0, "imnet": 0, "backward": 0}

    def count(module, name):
        module.register_forward_hook(lambda *_: passes.__setitem__(name, passes[name] + 1))

    count(trainer.model.backbone, "student")
    count(trainer.ema_model.backbone, "teacher")
    count(trainer.components["feature_distance"].reference.network.backbone, "imnet")
    own = masking is not None and "alpha" in masking
    if own:
        count(trainer.components["masking"].ema_model.backbone, "own")
    backward = wrapper.backward

    def counted(loss, **options):
        passes["backward"] += 1
        backward(loss, **options)

    wrapper.backward = counted
    trainer.train_step(random_batch(0, size=(64, 64)), wrapper)
    extra = int(masking is not None)
    assert passes == {
        "student": 2 + extra,
        "teacher": 1,
        "own": int(own),
        "imnet": 1,
        "backward": 2 + extra,
    }


def test_images_that_hrda_encodes():
    """In units of a detail crop: source 2, distance 1, labels 1 + 9, mix 2, per image."""
    trainer = build(nano_hrda_config())
    reference = trainer.components["feature_distance"].reference.network
    shapes = {"student": [], "teacher": [], "imnet": []}
    for name, network in zip(shapes, (trainer.model, trainer.ema_model, reference), strict=True):
        network.backbone.register_forward_pre_hook(
            lambda _, args, name=name: shapes[name].append(tuple(args[0].shape))
        )
    trainer.train_step(random_batch(0, size=(64, 64)), optimizer(trainer))
    crop, crops = (2, 3, 32, 32), (18, 3, 32, 32)
    assert shapes == {"student": [crop] * 4, "teacher": [crop, crops], "imnet": [crop]}


def test_the_average_takes_the_same_few_operations_for_any_network():
    counts = []
    for layers in (2, 40):
        student = nn.Sequential(*(nn.Linear(2, 2) for _ in range(layers)))
        teacher = EmaTeacher(copy.deepcopy(student), 0.9)
        with Operations() as operations:
            teacher.update(student, 5)
        counts.append(sum("detach" not in name for name, _ in operations.sizes))
    assert counts[0] == counts[1] <= 2


def test_cell_labels_need_no_one_hot_map():
    label = torch.randint(0, 20, (2, 256, 256))
    label[label == 19] = 255
    with Operations() as operations:
        downscale_label(label, 64, 0.75, 19)
    assert max(size for _, size in operations.sizes) <= label.numel() * label.element_size()


@pytest.mark.parametrize("mode", ["separatetrgaug", "separate", "separatesrcaug"])
def test_no_value_is_read_by_the_host_in_forward_and_backward(mode):
    """Below Python: also what torch reads inside an operation, such as a boolean index."""
    trainer = build(nano_hrda_config(), masking=dict(MASKING, mode=mode, alpha=0.9))
    trainer.random = HostNumbers()
    wrapper = optimizer(trainer)
    trainer.train_step(random_batch(0, size=(64, 64)), wrapper)
    batch = random_batch(1, size=(64, 64))
    with Operations() as operations:
        trainer.run_step(batch, wrapper)
    assert len(operations.sizes) > 1000
    assert operations.waits == []
    with Operations() as operations:
        torch.ones(3)[torch.tensor([True, False, True])].sum().item()
    assert len(operations.waits) == 2
