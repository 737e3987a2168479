"""The step as a whole: order, bookkeeping, components."""

import copy

import pytest
import torch
from nano import nano_config, nano_hrda_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import COMPONENTS, Component, SelfTraining, StepRandom

FEATURE_DISTANCE = dict(type="FeatureDistance", classes=[1, 2, 3], min_ratio=0.5)
MASKING = dict(type="MaskedConsistency", mode="separatetrg", block_size=8)


def build(hrda=False, size=(32, 32), **options):
    torch.manual_seed(0)
    segmentor = nano_hrda_config() if hrda else nano_config(size=size)
    trainer = SelfTraining(segmentor, **options)
    trainer.init_weights()
    return trainer.train()


def train(trainer, steps, wrapper=None, start=0, **batch):
    wrapper = wrapper or optimizer(trainer)
    size = trainer.model.data_preprocessor.size
    logs = [
        trainer.train_step(random_batch(start + i, size=size, **batch), wrapper)
        for i in range(steps)
    ]
    return logs, wrapper


@pytest.mark.parametrize("hrda", [False, True])
def test_logged_keys(hrda):
    trainer = build(hrda, feature_distance=FEATURE_DISTANCE, masking=MASKING)
    (log,), _ = train(trainer, 1)
    parts = ["decode", "mix.decode", "masked.decode"]
    if hrda:
        parts += [f"{part}.hr" for part in parts]
    expected = {f"{p}.{k}" for p in parts for k in ("loss_seg", "acc_seg")}
    assert log.keys() == expected | {"src.loss_imnet_feat_dist"}


def test_the_gradient_is_the_sum_of_separate_gradients():
    options = dict(
        jitter_probability=0.0,
        blur_probability=0.0,
        pseudo_threshold=0.2,
    )
    total = step_gradient(
        feature_distance=FEATURE_DISTANCE, masking=dict(MASKING, loss_weight=0.5), **options
    )
    source = step_gradient(target_start=1, **options)
    with_distance = step_gradient(target_start=1, feature_distance=FEATURE_DISTANCE, **options)
    with_mix = step_gradient(**options)
    with_mask = step_gradient(masking=dict(MASKING, loss_weight=0.5), **options)
    # with_mask holds source + mix + mask, with_distance source + distance
    separate = {n: with_distance[n] + with_mask[n] - source[n] for n in total}
    difference = flat(total) - flat(separate)
    assert difference.norm() / flat(separate).norm() < 1e-5
    for part in (with_distance, with_mix):  # each term contributes
        assert not torch.equal(flat(part), flat(source))
    assert not torch.equal(flat(with_mix), flat(with_mask))


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values()])


def step_gradient(**options):
    trainer = build(size=(64, 64), **options)
    wrapper = optimizer(trainer)
    captured = {}

    def capture(hold):
        captured.update({n: p.grad.clone() for n, p in trainer.model.named_parameters()})

    wrapper.update = capture
    trainer.train_step(random_batch(0, size=(64, 64)), wrapper)
    return captured


def test_masked_loss_weight_scales_main_and_detail_loss():
    log = {}
    for weight in (1.0, 0.5):
        trainer = build(True, masking=dict(MASKING, loss_weight=weight))
        log[weight] = train(trainer, 1)[0][0]
    for name in ("masked.decode.loss_seg", "masked.decode.hr.loss_seg"):
        assert log[0.5][name].item() == pytest.approx(0.5 * log[1.0][name].item(), rel=1e-6)


def test_masked_loss_weight_on_the_main_loss_only():
    masking = dict(MASKING, loss_weight=0.5, weight_main_loss_only=True)
    log = train(build(True, masking=masking), 1)[0][0]
    full = train(build(True, masking=MASKING), 1)[0][0]
    main, detail = "masked.decode.loss_seg", "masked.decode.hr.loss_seg"
    assert log[main].item() == pytest.approx(0.5 * full[main].item(), rel=1e-6)
    assert log[detail].item() == full[detail].item()


def test_sharing_builds_no_second_teacher_and_passes_the_hosts_labels():
    trainer = build(masking=MASKING)
    masking = trainer.components["masking"]
    assert masking.teacher is None
    seen = {}
    batch_of = masking._batch
    label_target = trainer.label_target

    def spy_host(ctx, target):
        seen["host"] = label_target(ctx, target)
        return seen["host"]

    def spy_masking(*args):
        seen["masked"] = batch_of(*args)
        return seen["masked"]

    trainer.label_target, masking._batch = spy_host, spy_masking
    train(trainer, 1)
    _, label, weight = seen["masked"]
    assert torch.equal(label, seen["host"].label) and torch.equal(weight, seen["host"].weight)


def test_an_own_teacher_with_alpha_zero_is_the_student():
    trainer = build(masking=dict(MASKING, alpha=0.0))
    masking = trainer.components["masking"]
    wrapper = optimizer(trainer)
    for step in range(3):
        before = copy.deepcopy(trainer.model)
        train(trainer, 1, wrapper, start=step)
        for a, b in zip(before.parameters(), masking.ema_model.parameters(), strict=True):
            assert torch.equal(a, b)


def test_no_threshold_gives_weight_one_outside_the_margins():
    trainer = build(masking=dict(MASKING, pseudo_threshold=None), pseudo_weight_ignore_bottom=8)
    masking = trainer.components["masking"]
    seen = []
    batch_of = masking._batch
    masking._batch = lambda *args: seen.append(batch_of(*args)) or seen[-1]
    train(trainer, 1)
    weight = seen[0][2]
    assert weight[:, :24].eq(1).all() and weight[:, 24:].eq(0).all()


@pytest.mark.parametrize(
    "mode", ["separate", "separateaug", "separatesrc", "separatesrcaug", "separatetrgaug"]
)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_masking_mode_at_every_batch_size(mode, batch):
    trainer = build(size=(64, 64), masking=dict(MASKING, mode=mode))
    (log,), _ = train(trainer, 1, batch=batch)
    assert torch.isfinite(log["masked.decode.loss_seg"])


def test_separate_takes_half_of_each_domain():
    trainer = build(masking=dict(MASKING, mode="separate"), pseudo_threshold=1.1)
    masking = trainer.components["masking"]
    seen = []
    batch_of = masking._batch
    masking._batch = lambda *args: seen.append((args, batch_of(*args))) or seen[-1][1]
    train(trainer, 1)
    (_, source, target, pseudo), (image, label, weight) = seen[0]
    assert torch.equal(image, torch.stack([source.image[0], target.image[0]]))
    assert torch.equal(label, torch.stack([source.label[0], pseudo.label[0]]))
    assert weight[0].eq(1).all() and weight[1].eq(0).all()


def test_networks_outside_training():
    trainer = build(feature_distance=FEATURE_DISTANCE, masking=dict(MASKING, alpha=0.5))
    reference = trainer.components["feature_distance"].reference
    before = copy.deepcopy(reference.network.state_dict())
    _, wrapper = train(trainer, 2)
    optimized = {id(p) for g in wrapper.optimizer.param_groups for p in g["params"]}
    assert optimized == {id(p) for p in trainer.model.parameters()}
    assert not any(p.requires_grad for p in trainer.ema_model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in reference.network.state_dict().items())
    assert not any(m.training for m in reference.network.modules())
    assert not any("reference" in name for name in trainer.state_dict())


def test_no_host_synchronisation_in_the_step(monkeypatch):
    trainer = build(True, feature_distance=FEATURE_DISTANCE, masking=MASKING)
    wrapper = optimizer(trainer)
    train(trainer, 1, wrapper)
    waits = []
    for name in ("item", "tolist", "nonzero", "unique", "cpu", "numpy", "__bool__", "__float__"):
        original = getattr(torch.Tensor, name)

        def spy(self, *args, _name=name, _original=original, **kwargs):
            waits.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, spy)
    trainer.random = QuietRandom(0)
    # Without the optimizer, whose step counters live on the host.
    trainer.run_step(random_batch(1, size=(64, 64)), wrapper)
    monkeypatch.undo()
    assert waits == []


class QuietRandom(StepRandom):
    """Makes the host-side draws without tensors, which the test counts."""

    def _uniform(self):
        return 0.5

    def _randint(self, high):
        return high // 2

    def jitter_orders(self, batch_size, shared):
        return [(0, 1, 2, 3)] * batch_size


def test_the_target_can_start_late():
    trainer = build(target_start=2, masking=MASKING)
    logs, _ = train(trainer, 3)
    assert [any(k.startswith(("mix", "masked")) for k in log) for log in logs] == [
        False,
        False,
        True,
    ]


def test_source_only_has_no_teacher():
    trainer = build(source_only=True, masking=dict(MASKING, mode="separatesrc"))
    (log,), _ = train(trainer, 1)
    assert trainer.teacher is None and not any("ema_model" in k for k in trainer.state_dict())
    assert not any(k.startswith("mix") for k in log) and "masked.decode.loss_seg" in log


def test_valid_mask_of_the_data_set_reaches_the_weights():
    valid = torch.ones(32, 32, dtype=torch.uint8)
    valid[:, :4] = 0
    trainer = build(pseudo_threshold=0.0)
    seen = []
    label_target = trainer.label_target
    trainer.label_target = lambda *args: seen.append(label_target(*args)) or seen[-1]
    train(trainer, 1, valid=valid)
    assert seen[0].weight[..., :4].eq(0).all() and seen[0].weight[..., 4:].eq(1).all()


def test_all_pixels_unlabelled():
    trainer = build(feature_distance=FEATURE_DISTANCE, masking=MASKING)
    batch = random_batch(0)
    for sample in batch["source"]["data_samples"]:
        sample.gt_sem_seg.data.fill_(255)
    log = trainer.train_step(batch, optimizer(trainer))
    assert log["decode.loss_seg"].item() == 0 and log["src.loss_imnet_feat_dist"].item() == 0


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(mask_ratio=0.5), "uda.mask_ratio"),
        (dict(masking=dict(mode="separate")), "uda.masking"),
        (dict(refiner=dict(type="Unheard")), "Unheard"),
        (dict(masking=dict(MASKING, ratio=0.5)), "uda.masking.ratio .*\n.*mask_ratio"),
        (dict(pseudo_share="sometimes"), "pseudo_share"),
        (dict(source_only=True, masking=MASKING), "separatesrc"),
        (dict(feature_distance=dict(type="FeatureDistance", classes=[7])), "class 7"),
        (dict(feature_distance=dict(type="FeatureDistance", classes=["car"])), "taxonomy"),
    ],
)
def test_impossible_configs_are_named(options, words):
    with pytest.raises(UserError, match=words):
        build(**options)


def test_a_component_is_switched_off_with_none():
    assert not build(masking=None).components


def test_components_run_by_role_not_by_position():
    trainer = build(masking=MASKING, feature_distance=FEATURE_DISTANCE)
    assert list(trainer.components) == ["feature_distance", "masking"]


def test_a_loss_that_is_no_number_stops_the_run_before_the_update(tmp_path, monkeypatch):
    from mmengine.logging import MessageHub

    from mmseg_uda.engine import NonFiniteError

    class Poison(Component):
        def target_losses(self, ctx, target, pseudo):
            scale = float("nan") if ctx.step == 1 else 1.0
            parameter = next(ctx.host.model.parameters())
            return {"loss_poison": parameter.sum() * scale}

    COMPONENTS.register_module(name="Poison", module=Poison, force=True)
    try:
        trainer = build(poison=dict(type="Poison"))
    finally:
        COMPONENTS.module_dict.pop("Poison")
    MessageHub.get_current_instance().update_info("work_dir", str(tmp_path))
    wrapper = optimizer(trainer)
    train(trainer, 1, wrapper)
    before = copy.deepcopy(trainer.model.state_dict())
    with pytest.raises(NonFiniteError, match=r"step 1: loss_poison.*[\s\S]*1_0.png"):
        train(trainer, 1, wrapper, start=1)
    after = trainer.model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k, _ in trainer.model.named_parameters())
    dump = torch.load(tmp_path / "non_finite_step_1.pth", weights_only=True)
    assert dump["source"]["paths"] == ["1_0.png", "1_1.png"]


def test_a_missing_pixel_map_is_named():
    class NeedsDepth(Component):
        target_fields = ("depth",)

    COMPONENTS.register_module(name="NeedsDepth", module=NeedsDepth, force=True)
    try:
        trainer = build(needs=dict(type="NeedsDepth"))
    finally:
        COMPONENTS.module_dict.pop("NeedsDepth")
    with pytest.raises(UserError, match="uda.needs needs the per-pixel map 'depth'"):
        train(trainer, 1)


def test_mixed_precision_on_the_cpu():
    trainer = build(feature_distance=FEATURE_DISTANCE, masking=MASKING)
    full = build(feature_distance=FEATURE_DISTANCE, masking=MASKING)
    (log,), _ = train(trainer, 1, optimizer(trainer, amp="bf16"))
    (expected,), _ = train(full, 1)
    assert log["mix.decode.loss_seg"].dtype == torch.float32
    for name in ("decode.loss_seg", "mix.decode.loss_seg", "masked.decode.loss_seg"):
        assert log[name].item() == pytest.approx(expected[name].item(), rel=0.05), name


def test_unknown_precision_is_named():
    with pytest.raises(UserError, match="int8"):
        optimizer(build(), amp="int8")
