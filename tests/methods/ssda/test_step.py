"""The component inside whole training steps of the self-training host."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from nano import nano_config, optimizer, random_batch
from subdomains import (
    LOW,
    NETWORKS,
    PRIOR,
    RELEASED,
    SIZE,
    Recorder,
    cross_entropy,
    dlv2_config,
    gradients,
    total,
)

from mmseg_uda.engine.panels import BarsPanel, LabelPanel, MapPanel
from mmseg_uda.engine.records import normalization_of
from mmseg_uda.methods.ssda import (
    class_quota,
    jensen_shannon,
    seed_mask,
    truncated_crf_loss,
)
from mmseg_uda.models.views import LogitView, SegmentorOutput
from mmseg_uda.self_training import PseudoLabels, StepRandom, TargetBatch
from mmseg_uda.self_training.component import StepContext


@pytest.mark.parametrize("network", ["hrda", "daformer", "dlv2"])
def test_logged_keys(build, step, network):
    log = step(build(network, uncertainty_loss_weight=0.5))
    parts = {"", ".hr"} if network == "hrda" else {""}
    expected = {f"target.decode{p}.{k}" for p in parts for k in ("loss_seg", "acc_seg")}
    expected |= {"target.loss_crf", "target.loss_uncertainty"}
    expected |= {"ssda.uncertainty", "ssda.seed_ratio", "ssda.q", "ssda.crf_cells"}
    expected |= {f"ssda.seed_ratio.{c}" for c in range(5)}  # in step 0
    found = {k for k in log if k.startswith(("target.", "ssda."))}
    assert found == expected
    assert all(torch.isfinite(torch.as_tensor(v)) for v in log.values())


def test_ratios_by_class_are_rare(build, step):
    trainer = build(debug_interval=2)
    wrapper = optimizer(trainer)
    logs = [step(trainer, i, wrapper) for i in range(3)]
    assert ["ssda.seed_ratio.0" in log for log in logs] == [True, False, True]


def fixed_step(trainer, opinion, label, share=1.0, valid=None):
    """Arguments of ``target_losses`` with given uncertainty and labels."""
    component = trainer.components["subdomains"]
    image = torch.zeros(label.shape[0], 3, *label.shape[1:])
    weight = torch.full(label.shape, share)
    normalization = normalization_of(trainer.model.data_preprocessor)
    target = TargetBatch(image, valid, normalization)
    confident = torch.ones_like(label, dtype=torch.bool)
    shares = torch.full((label.shape[0],), share)
    pseudo = PseudoLabels(label, weight, confident, shares, weight).masked(valid)
    ctx = StepContext(1, StepRandom(0), trainer, lambda *_: None)
    ctx.notes[component] = SimpleNamespace(uncertainty=opinion, pasted=None)
    return component, (ctx, target, pseudo)


def zero_logits(weight=1.0):
    logits = torch.zeros(1, 2, 1, 4, requires_grad=True)
    return SegmentorOutput((LogitView("", logits, weight, None),), ()), logits


@pytest.mark.parametrize(
    ("main_weight", "tau", "value"), [(1.0, 1.0, 0.2599302), (0.9, 0.01, 0.002339372)]
)
def test_seed_loss_by_hand(build, main_weight, tau, value):
    """Four pixels, seeds 1, 0, 1, 1, weight 0.5: mean over all four."""
    trainer = build(
        "daformer",
        segmentor=nano_config(2, size=SIZE),
        uncertainty={"source": "none"},
        class_prior=[0.5, 0.5],
        quota=0.75,
        min_pixels=0,
        target_weight=tau,
        crf_loss_weight=0,
    )
    label = torch.zeros(1, 1, 4, dtype=torch.int64)
    opinion = torch.tensor([[[0.1, 0.9, 0.2, 0.3]]])
    component, arguments = fixed_step(trainer, opinion, label, share=0.5)
    output, logits = zero_logits(main_weight)
    trainer.forward_student = lambda image: output
    losses = component.target_losses(*arguments)
    assert total(losses).item() == pytest.approx(value, rel=1e-6)


def test_no_seeds_no_loss(build):
    trainer = build(
        "daformer",
        segmentor=nano_config(2, size=SIZE),
        uncertainty={"source": "none"},
        class_prior=[0.5, 0.5],
        crf_loss_weight=0,
    )
    label = torch.zeros(1, 1, 4, dtype=torch.int64)  # 4 pixels are fewer than 10
    component, arguments = fixed_step(trainer, torch.zeros(1, 1, 4), label)
    output, logits = zero_logits()
    trainer.forward_student = lambda image: output
    loss = total(component.target_losses(*arguments))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def released_reference(record, min_pixels=10):
    """0.01 × HRDA's cross-entropy with the mixed weights, on classes of enough pixels."""
    pseudo, mixed = record.pseudo, record.mixed
    weight = torch.where(mixed.pasted, 1.0, pseudo.weight)
    assert torch.equal(weight, mixed.weight)
    counts = torch.bincount(pseudo.label.flatten(), minlength=5)
    mask = counts[pseudo.label] > min_pixels
    losses = [
        view.weight * cross_entropy(view, pseudo.label, weight * mask)
        for view in record.target_output.logits
    ]
    return 0.01 * sum(losses)


@pytest.mark.parametrize("min_pixels", [10, 100])
def test_released_preset(build, min_pixels):
    """Also with so many pixels asked for that a class of these small images has no seeds."""
    trainer = build("hrda", host=LOW, **RELEASED, min_pixels=min_pixels)
    record = Recorder(trainer)
    teacher_passes = []
    trainer.teacher.network.backbone.register_forward_pre_hook(lambda *_: teacher_passes.append(1))
    valid = torch.ones(SIZE, dtype=torch.uint8)
    valid[:10] = 0
    trainer.train_step(random_batch(0, size=SIZE, valid=valid), optimizer(trainer))
    assert len(teacher_passes) == 2  # one pass: context and detail crops
    weights = [view.weight for view in record.target_output.logits]
    assert weights == [0.9, 0.1]
    expected = released_reference(record, min_pixels).item()
    assert total(record.losses).item() == pytest.approx(expected, rel=1e-5)
    counts = torch.bincount(record.pseudo.label.flatten())
    assert (counts > min_pixels).any()
    assert ((counts > 0) & (counts <= min_pixels)).any() == (min_pixels > 10)
    assert record.losses["target.loss_uncertainty"].item() == 0.0
    assert 0 < record.pseudo.share[0] < 1 and 0 < record.mixed.pasted.float().mean() < 1
    assert not torch.equal(record.mixed.weight, record.pseudo.weight)


class OtherMix(StepRandom):
    """The same draws but for the classes that are pasted."""

    def class_ranks(self, batch_size, num_ids, device):
        return -super().class_ranks(batch_size, num_ids, device)


@pytest.mark.parametrize(("options", "changes"), [({}, False), (RELEASED, True)])
def test_only_the_released_weights_depend_on_the_mix(build, options, changes):
    losses, masks = [], []
    for random in (StepRandom(0), OtherMix(0)):
        trainer = build("hrda", host=LOW, **options)
        trainer.random = random
        record = Recorder(trainer)
        trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
        losses.append(total(record.losses).item())
        masks.append(record.mixed.pasted)
    assert not torch.equal(*masks)
    assert (losses[0] != losses[1]) == changes


def test_method_preset_by_the_formula(build):
    """Everything of a step written out once more: quota, seeds, cross-entropy, CRF."""
    host = dict(LOW, pseudo_weight_ignore_top=8)
    trainer = build("hrda", host=host, uncertainty_loss_weight=1.0)
    record = Recorder(trainer)
    trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    pseudo, output = record.pseudo, record.target_output
    seeds = seed_mask(record.uncertainty, pseudo.label, class_quota(PRIOR))
    assert 0.1 < seeds.float().mean() < 0.9
    fused, detail = output.logits
    weight = pseudo.weight * seeds
    valid = torch.ones_like(pseudo.weight)
    valid[:, :8] = 0
    source = F.avg_pool2d(seeds.float()[:, None], 4)[:, 0].eq(1) & valid[:, ::4, ::4].bool()
    rest = F.avg_pool2d((~seeds).float()[:, None], 4)[:, 0].eq(1) & valid[:, ::4, ::4].bool()
    assert source.any() and rest.any()
    colour = F.avg_pool2d(record.target.rgb(), 4)
    crf = truncated_crf_loss(fused.logits.softmax(1), {"rgb": colour}, source, rest)
    expected = {
        "target.decode.loss_seg": 0.01 * 0.9 * cross_entropy(fused, pseudo.label, weight),
        "target.decode.hr.loss_seg": 0.01 * 0.1 * cross_entropy(detail, pseudo.label, weight),
        "target.loss_uncertainty": 0.01 * 0.9 * record.uncertainty.mean(),
        "target.loss_crf": 0.01 * 0.9 * 0.1 * crf,
    }
    found = {name: value for name, value in record.losses.items() if "loss" in name}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-5), name
        assert value.item() > 0


def test_the_teachers_uncertainty_has_no_gradient(build):
    without, with_ = (
        gradients(build("hrda", host=LOW, uncertainty_loss_weight=w)) for w in (0.0, 1.0)
    )
    assert all(torch.equal(a, b) for a, b in zip(without, with_, strict=True))


@pytest.mark.parametrize("network", ["hrda", "daformer", "dlv2"])
def test_the_students_uncertainty_has_one(build, network):
    only = dict(seed_loss_weight=0, branch_seed_loss=False, crf_loss_weight=0, target_weight=1.0)
    trainer = build(network, **only, uncertainty_loss_weight=1.0, uncertainty_grad=True)
    record = Recorder(trainer)
    norms = []
    component = trainer.components["subdomains"]
    losses = component.target_losses

    def target_losses(*args):
        found = losses(*args)
        assert list(found) == ["target.loss_uncertainty"]
        found["target.loss_uncertainty"].backward(retain_graph=True)
        norms.append(sum(p.grad.norm() for p in trainer.model.backbone.parameters()))
        return found

    component.target_losses = target_losses
    trainer.model.zero_grad()
    trainer.backward = lambda *_: None  # this loss alone
    trainer.run_step(random_batch(0, size=SIZE), optimizer(trainer))
    assert record.losses["target.loss_uncertainty"].item() > 0
    assert norms[0] > 0 and torch.isfinite(norms[0])


def test_the_students_scales_are_compared_inside_the_crop(build):
    """Fused and context logits are cut to the detail crop, each on its own grid."""
    trainer = build("hrda", uncertainty_loss_weight=1.0, uncertainty_grad=True)
    output = trainer.forward_student(random_image())
    watch = trainer.components["subdomains"]._student_uncertainty
    box = output.detail.box
    assert (box.y1 - box.y0, box.x1 - box.x0) == (32, 32)
    rows, columns = slice(box.y0 // 4, box.y1 // 4), slice(box.x0 // 4, box.x1 // 4)
    coarse = slice(box.y0 // 8, box.y1 // 8), slice(box.x0 // 8, box.x1 // 8)
    fused = output.logits[0].logits[..., rows, columns]
    context = F.interpolate(
        output.detail.context[(..., *coarse)], (8, 8), mode="bilinear", align_corners=False
    )
    maps = [v.softmax(1) for v in (fused, context, output.logits[1].logits)]
    expected = jensen_shannon(maps).mean()
    assert watch.mean(output, StepRandom(0)).item() == pytest.approx(expected.item(), rel=1e-5)


def random_image():
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_nothing_is_added_to_checkpoints(build):
    names = build().state_dict().keys()
    assert not [n for n in names if n.startswith("components.")]


def test_panels(build):
    trainer = build("hrda", host=LOW)
    trainer.draws = True
    trainer.run_step(random_batch(0, size=SIZE), optimizer(trainer))
    panels = {panel.title: panel for panel in trainer.panels}
    unsure = panels["uncertainty (bits)"]
    assert isinstance(unsure, MapPanel) and unsure.values.shape == (2, *SIZE)
    assert unsure.limits[1] == pytest.approx(1.5849625)
    seeds, pseudo = panels["seeds"], panels["pseudo-label"]
    assert isinstance(seeds, LabelPanel)
    shown = seeds.label != 255
    assert torch.equal(seeds.label[shown], pseudo.label[shown]) and 0 < shown.sum() < shown.numel()
    bars = panels["share of seeds"]
    assert isinstance(bars, BarsPanel)
    assert bars.series["quota"].tolist() == pytest.approx(class_quota(PRIOR).tolist())
    present = pseudo.label.flatten().bincount(minlength=5) > 10
    assert (bars.series["seeds"] >= bars.series["quota"] - 1e-6)[present].all()
    energy = panels["CRF energy"]
    assert energy.values.shape == (2, 16, 16) and energy.values.sum() > 0


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_with_masked_consistency_and_feature_distance(build, step, network):
    host = dict(
        LOW,
        feature_distance=dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5),
        masking=dict(type="MaskedConsistency", mode="separatetrgaug", block_size=8),
    )
    log = step(build(network, host=host))
    assert {"target.loss_crf", "masked.decode.loss_seg", "src.loss_imnet_feat_dist"} <= log.keys()


def test_auxiliary_heads_learn_seeds_too(build, step):
    cfg = dlv2_config()
    cfg["auxiliary_head"] = dict(cfg["decode_head"], in_channels=16, in_index=2)
    log = step(build("x", segmentor=cfg, uncertainty={"dropout": 0.1}))
    assert {"target.decode.loss_seg", "target.aux.loss_seg"} <= log.keys()
