"""Whole steps of every host against the methods' formulas, written out a second time."""

import copy

import pytest
import torch
from hand_step import CLASSES, MEAN, STD, HandStep
from nano import nano_config, nano_hrda_config, random_batch
from pinned_random import PinnedRandom

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.self_training import SelfTraining

SIZE, DETAIL = 128, 64
# The share of confident pixels lies between 0 and 1, and the average's cap is reached at t = 2.
FORMULA = dict(alpha=0.6, threshold=0.27, lr=0.01, distance=0.3, ratio=0.25, things=(1, 2, 3))
# Rounding grows: a pixel may change its pseudo-label after some updates.
TOLERANCE = (1e-3, 0.02, 0.1)


def daformer():
    return nano_config(size=(SIZE, SIZE))


def hrda(head_options=(), **options):
    cfg = nano_hrda_config(size=(SIZE, SIZE))
    cfg["decode_head"].update(head_options)
    return {**cfg, "hr_crop_size": (DETAIL, DETAIL), **options}


def hrda_deeplab():
    cfg = hrda(crop_coord_divisible=None)
    cfg["decode_head"] = dict(
        type="HRDAHead",
        single_scale_head="DLV2Head",
        in_channels=12,
        in_index=1,
        dilations=(1, 2),
        num_classes=CLASSES,
        hr_loss_weight=0.1,
        loss_decode=cfg["decode_head"]["loss_decode"],
    )
    return cfg


def masked(mode="separatetrg", **options):
    return dict(type="MaskedConsistency", block_size=16, mode=mode, **options)


one_crop = hrda(dict(lr_loss_weight=0.2), hr_crop_size=(SIZE, SIZE), feature_scale="all")
# network, MIC, what else differs
CASES = {
    "DAFormer": (daformer(), {}, dict(top=3, bottom=12)),
    "DAFormer, MIC, augmented": (daformer(), masked("separatetrgaug"), dict(augmented=True)),
    "HRDA": (hrda(), {}, dict(valid=True)),
    "HRDA, distance at both scales": (hrda(feature_scale="all"), {}, {}),
    "HRDA, MIC": (hrda(), masked(loss_weight=0.5), dict(top=5)),
    "HRDA, MIC on both domains": (hrda(), masked("separate"), {}),
    "HRDA, MIC on the source": (hrda(), masked("separatesrc"), {}),
    "HRDA, MIC's own teacher": (hrda(), masked(alpha=0.3, pseudo_threshold=None), dict(top=5)),
    "HRDA, outer crop = detail crop": (one_crop, masked(), {}),
    "HRDA, one map, no overlap": (
        hrda(dict(attention_classwise=False), hr_slide_overlapping=False),
        {},
        {},
    ),
    "HRDA, DeepLabV2": (hrda_deeplab(), masked(), {}),
}

CHANGES = torch.tensor([[0.5, -0.5, 0.9, 0.7], [-0.8, 0.3, -0.6, -0.9]])  # times the strength
ORDERS, SHARED_ORDER = [(0, 1, 2, 3), (3, 1, 2, 0)], (2, 0, 3, 1)
SIGMAS, SHARED_SIGMA = [0.4, 1.1], 0.8


class Augmenting(PinnedRandom):
    def apply_color_jitter(self, probability):
        return True

    apply_blur = apply_color_jitter

    def jitter_factors(self, batch_size, device):
        return CHANGES[:batch_size]

    def jitter_orders(self, batch_size, shared):
        return [SHARED_ORDER] * batch_size if shared else ORDERS

    def blur_sigma(self, batch_size, shared, device, bounds):
        return torch.tensor([SHARED_SIGMA] * batch_size if shared else SIGMAS)


def drawn(orders, sigmas):
    factors = (0.2 * CHANGES + torch.tensor([1, 1, 1, 0])).tolist()
    return list(zip(factors, orders, sigmas, strict=True))


def batch_of(t, valid):
    """The collated batch, and the same as normalised images and labels."""
    raw = random_batch(t, size=(SIZE, SIZE), valid=valid)
    source, target = (
        (torch.stack(raw[domain]["inputs"])[:, [2, 1, 0]].float() - MEAN) / STD
        for domain in ("source", "target")
    )
    label = torch.stack([s.gt_sem_seg.data[0] for s in raw["source"]["data_samples"]])
    return raw, (source, label, target)


def build(segmentor, masking, margins):
    torch.manual_seed(0)
    distance = dict(
        type="FeatureDistance",
        loss_weight=FORMULA["distance"],
        classes=list(FORMULA["things"]),
        min_ratio=FORMULA["ratio"],
    )
    trainer = SelfTraining(
        copy.deepcopy(segmentor),
        alpha=FORMULA["alpha"],
        pseudo_threshold=FORMULA["threshold"],
        pseudo_weight_ignore_top=margins["top"],
        pseudo_weight_ignore_bottom=margins["bottom"],
        feature_distance=distance,
        masking=masking or None,
    )
    trainer.init_weights()
    for name, parameter in trainer.model.named_parameters():
        if name.endswith(("conv_seg.weight", "aspp_modules.0.conv.weight")):
            parameter.data *= 30  # an untrained network is sure of nothing
    trainer.ema_model.load_state_dict(trainer.model.state_dict())
    return trainer.train()


def same_change(ours, theirs, start, tolerance):
    for name, value in ours.state_dict().items():
        expected, before = theirs.state_dict()[name].double(), start[name].double()
        allowed = tolerance * (expected - before).norm() + 1e-6 * before.norm()
        assert (value - expected).norm() <= allowed, name


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_formulas(case):
    segmentor, masking, special = CASES[case]
    margins = {name: special.get(name, 0) for name in ("top", "bottom")}
    valid = None
    if special.get("valid"):
        valid = torch.ones(SIZE, SIZE, dtype=torch.uint8)
        valid[:10], valid[:, 50:] = 0, 0
    trainer = build(segmentor, masking, margins)
    start = copy.deepcopy(trainer.model.state_dict())
    augmented = special.get("augmented", False)
    trainer.random = Augmenting() if augmented else PinnedRandom()
    hand = HandStep(
        trainer.model,
        **FORMULA,
        **margins,
        valid=valid,
        masking=masking,
        draws=drawn(ORDERS, SIGMAS) if augmented else None,
        masked_draws=drawn([SHARED_ORDER] * 2, [SHARED_SIGMA] * 2) if augmented else None,
    )
    pairs = [(trainer.model, hand.student), (trainer.ema_model, hand.teacher)]
    if "alpha" in masking:
        pairs.append((trainer.components["masking"].ema_model, hand.own))
    optimizer = ReferenceNameConstructor(
        dict(type="StepOptimWrapper", optimizer=dict(type="SGD", lr=FORMULA["lr"])),
        dict(custom_keys={"head": dict(lr_mult=10.0)}),
    )(trainer)
    distances = []
    for t, tolerance in enumerate(TOLERANCE):
        raw, tensors = batch_of(t, valid)
        log = {k: float(v) for k, v in trainer.train_step(raw, optimizer).items() if "loss" in k}
        expected = hand.step(t, *tensors)
        assert log == pytest.approx(expected, rel=1e-3 if t else 1e-4)
        for ours, theirs in pairs:
            same_change(ours, theirs, start, tolerance)
        distances.append(expected["src.loss_imnet_feat_dist"])
    assert max(distances) > 0
    assert any(0 < share < 1 for share in hand.shares)
