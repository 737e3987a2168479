"""CDDA inside whole training steps of the self-training host."""

import copy

import pytest
import torch
from depth_tasks import OPEN, alone_with_depth, car_bank, component, depth_batch, train_with_depth
from nano import nano_config, nano_hrda_config, optimizer
from process_tasks import main_job, watch_gradients
from processes import together
from resuming import same, whole_and_resumed

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import SelfTraining

SIZE = (64, 64)
DISTANCE = dict(type="FeatureDistance", classes=[1, 2, 13], min_ratio=0.5)
MASKING = dict(type="MaskedConsistency", mode="separatetrgaug", block_size=16)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return car_bank(tmp_path_factory.mktemp("bank") / "bank")


@pytest.fixture(scope="module")
def small_bank(tmp_path_factory):
    """The same for crops of 64 pixels."""
    from depth_world import blocks, write_bank

    labels = [blocks(seed, *SIZE, [0, 8, 13, 18], side=16) for seed in range(3)]
    depths = [20 + 10 * (label // 4) for label in labels]
    return write_bank(tmp_path_factory.mktemp("bank") / "small", labels, depths)


def build(bank, hrda=False, dropout=0.0, **options):
    torch.manual_seed(0)
    segmentor = nano_hrda_config(19, SIZE) if hrda else nano_config(19, dropout, size=SIZE)
    depth = options.pop("depth", OPEN)
    depth = None if depth is None else component(bank, **depth)
    trainer = SelfTraining(segmentor, pseudo_threshold=0.055, depth=depth, **options)
    trainer.init_weights()
    return trainer.train()


def train(trainer, steps, wrapper=None, start=0):
    wrapper = wrapper or optimizer(trainer)
    logs = []
    for i in range(start, start + steps):
        # a depth map with several bins, another in each step
        batch = depth_batch(i, size=SIZE)
        for j, sample in enumerate(batch["target"]["data_samples"]):
            sample.gt_depth_map.data[:] = 20 + 10 * ((torch.arange(64)[:, None] // 16 + i + j) % 5)
        logs.append(trainer.train_step(batch, wrapper))
    return logs, wrapper


def test_supervised_and_feature_distance_losses_are_those_without_cdda(small_bank):
    (on,), _ = train(build(small_bank, feature_distance=DISTANCE, masking=MASKING), 1)
    (off,), _ = train(build(small_bank, depth=None, feature_distance=DISTANCE, masking=MASKING), 1)
    for name in ("decode.loss_seg", "src.loss_imnet_feat_dist"):
        assert torch.equal(on[name], off[name])
    assert on["mix.decode.loss_seg"] != off["mix.decode.loss_seg"]
    new = {name for name in on if name not in off}
    assert new == {"target.loss_guidance"} | {
        f"cdda.{name}"
        for name in (
            "score_mean", "match_rate", "guidance_rate", "n_missing", "weight_mean",
            "reweight_threshold", "relabel_threshold",
        )
    }  # fmt: skip


def test_a_component_that_finds_nothing_changes_nothing(small_bank):
    shut = dict(reweight_threshold=2.0, relabel_threshold=2.0)
    one, other = build(small_bank, depth=shut), build(small_bank, depth=None)
    train(one, 3), train(other, 3)
    kept = {k: v for k, v in one.state_dict().items() if not k.startswith("components.depth")}
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in kept.items())


def test_crops_are_read_while_the_source_is_trained_on(small_bank):
    trainer = build(small_bank)
    _, wrapper = train(trainer, 1)
    reader, events = trainer.components["depth"]._reader, []
    request, forward = reader.request, trainer.forward_student
    reader.request = lambda *a: (events.append("request"), request(*a))[1]
    trainer.forward_student = lambda *a, **k: (events.append("forward"), forward(*a, **k))[1]
    train(trainer, 1, wrapper, start=1)
    assert events == ["request"] * 2 + ["forward"] * 3  # source, guidance, mix


def test_masking_gets_the_new_weights_and_the_plain_labels(small_bank):
    trainer = build(small_bank, masking=MASKING, pseudo_weight_ignore_top=8)
    seen = {}
    masking, refine = trainer.components["masking"], trainer.components["depth"].refine_weights
    batch_of = masking._batch

    def spy(ctx, target, pseudo):
        seen["before"], seen["after"] = pseudo, refine(ctx, target, pseudo)
        return seen["after"]

    trainer.components["depth"].refine_weights = spy
    masking._batch = lambda *args: seen.setdefault("masked", batch_of(*args))
    train(trainer, 1)
    _, label, weight = seen["masked"]
    assert torch.equal(label, seen["before"].label)
    expected = seen["after"].weight.clone()
    expected[:, :8] = 0  # the margin, in whatever mode
    assert torch.equal(weight, expected)
    assert not torch.equal(seen["after"].weight, seen["before"].weight)


def test_the_source_is_supervised_as_it_came(small_bank):
    trainer = build(small_bank)
    seen = {}
    choose = trainer.components["depth"].choose_source

    def spy(ctx, source, target, pseudo):
        seen["source"] = copy.deepcopy((source.image, source.label))
        seen["record"], pasted = source, choose(ctx, source, target, pseudo)
        seen["pasted"] = pasted
        return pasted

    trainer.components["depth"].choose_source = spy
    train(trainer, 1)
    assert torch.equal(seen["record"].image, seen["source"][0])
    assert torch.equal(seen["record"].label, seen["source"][1])
    assert not torch.equal(seen["pasted"].image, seen["source"][0])


@pytest.mark.parametrize("hrda", [False, True])
def test_guidance_adds_the_gradient_of_its_loss_and_nothing_else(small_bank, hrda):
    def step(weight):
        options = dict(OPEN, replace_source=False, guidance_weight=weight)
        trainer = build(small_bank, hrda, depth=options)
        wrapper = optimizer(trainer)
        gradients = watch_gradients(trainer, wrapper)
        (log,), _ = train(trainer, 1, wrapper)
        return log["target.loss_guidance"].item(), gradients[0]

    (_, plain), (loss, once), (double, twice) = (step(weight) for weight in (0.0, 1.0, 2.0))
    assert double == pytest.approx(2 * loss)
    # HRDA: the fused logits alone enter, behind which are both scales and the attention.
    moved = {n for n in once if not torch.equal(once[n], plain[n])}
    assert any("backbone" in n for n in moved) and any("decode_head" in n for n in moved)
    assert any("attention" in n for n in moved) == hrda
    one, other = (
        torch.cat([(g[n] - plain[n]).flatten() for n in sorted(moved)]) for g in (once, twice)
    )
    assert (other - 2 * one).norm() / other.norm() < 1e-3


@pytest.mark.parametrize("hrda", [False, True])
def test_resume_equals_an_uninterrupted_run(small_bank, hrda):
    options = dict(
        hrda=hrda,
        feature_distance=DISTANCE,
        masking=MASKING,
        depth=dict(
            reweight_threshold=0.1, relabel_threshold=0.05, threshold_decay=0.02,
            decay_begin=1, decay_end=5, decay_interval=1,
        ),
    )  # fmt: skip
    whole, resumed, logs, again = whole_and_resumed(
        lambda: build(small_bank, **options), train, optimizer
    )
    assert len({log["cdda.reweight_threshold"] for log in logs}) == 5
    assert same(whole.state_dict(), resumed.state_dict())
    assert [log["cdda.reweight_threshold"] for log in again] == [
        log["cdda.reweight_threshold"] for log in logs[3:]
    ]


def test_a_changed_bank_is_noticed_at_resume(small_bank, tmp_path):
    from depth_world import blocks, write_bank

    trainer = build(small_bank)
    train(trainer, 1)
    other = write_bank(tmp_path / "other", [blocks(9, *SIZE, [0, 8])], [blocks(9, *SIZE, [20, 30])])
    resumed = build(other)
    resumed.load_state_dict(trainer.state_dict())
    with pytest.raises(UserError, match="not the one that this run was trained with"):
        train(resumed, 1, start=1)
    same = build(small_bank)
    same.load_state_dict(trainer.state_dict())
    train(same, 1, start=1)


def test_csi_cdda_and_mic_in_one_config(bank):
    """Relabelled pseudo-labels are compared with the bank; all three act in the same step."""
    trainer = main_job(depth=component(bank, **OPEN))
    assert list(trainer.components) == ["feature_distance", "relabel", "depth", "masking"]
    depth, seen = trainer.components["depth"], []
    refine = depth.refine_weights
    depth.refine_weights = lambda ctx, target, pseudo: (
        seen.append(pseudo.label) or refine(ctx, target, pseudo)
    )
    wrapper = optimizer(trainer)
    for step in range(4):
        log = trainer.train_step(depth_batch(step), wrapper)
        assert all(torch.isfinite(torch.as_tensor(v)).all() for v in log.values())
    assert log["csi.pixels.truck"] > 0 and (seen[-1] == 14).any()
    assert {"target.loss_guidance", "masked.decode.loss_seg", "mix.decode.loss_seg"} <= log.keys()


@pytest.mark.parametrize("hrda", [False, True])
def test_mixed_precision_decides_as_full_precision(small_bank, hrda):
    half = build(small_bank, hrda)
    (log,), _ = train(half, 1, optimizer(half, amp="bf16"))
    full = build(small_bank, hrda)
    (expected,), _ = train(full, 1)
    assert log["target.loss_guidance"].dtype == torch.float32 and log["target.loss_guidance"] > 0.05
    assert log["target.loss_guidance"].item() == pytest.approx(
        expected["target.loss_guidance"].item(), rel=0.05
    )


def test_one_wait_for_the_device_per_step(small_bank, monkeypatch):
    trainer = build(small_bank, True, masking=MASKING)
    _, wrapper = train(trainer, 1)
    waits = []
    for name in ("item", "tolist", "nonzero", "unique", "cpu", "__bool__", "__float__"):
        original = getattr(torch.Tensor, name)

        def spy(self, *args, _name=name, _original=original, **kwargs):
            import sys

            frame = sys._getframe(1).f_code
            if "cdda" in frame.co_filename:
                waits.append((_name, frame.co_name))
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, spy)
    train(trainer, 1, wrapper, start=1)
    monkeypatch.undo()
    # On the CPU logged scalars are read at once; on a GPU they stay there (test_gpu.py).
    assert [w for w in waits if w[1] != "_log"] == [("tolist", "read_decision")]


def test_missing_depth_in_the_batch_is_named(small_bank):
    from nano import random_batch

    trainer = build(small_bank)
    with pytest.raises(UserError, match="uda.depth needs the per-pixel map 'gt_depth_map'"):
        trainer.train_step(random_batch(0, size=SIZE, num_classes=19), optimizer(trainer))


def test_guidance_in_one_of_two_processes(bank):
    """At the depth of the second process nothing matches: only the first runs the pass."""
    depths, thresholds = (20, 200), (0.05, 0.02)
    found = together(train_with_depth, 3, str(bank), depths, thresholds)
    rates = [[float(log["cdda.guidance_rate"]) for log in result["logs"]] for result in found]
    assert rates == [[1.0] * 3, [0.0] * 3]
    assert [r["logs"][0]["target.loss_guidance"] > 0 for r in found] == [True, False]
    for step in (0, 2):
        state = found[0]["states"][step]
        each = [
            alone_with_depth(state, rank, [step], str(bank), depths, thresholds)
            for rank in range(2)
        ]
        together_, mean = (
            torch.cat([g.flatten() for g in gradients.values()])
            for gradients in (
                found[0]["gradients"][step],
                {n: (each[0][n] + each[1][n]) / 2 for n in each[0]},
            )
        )
        assert (together_ - mean).norm() / mean.norm() < 1e-5
    assert found[0]["reductions"] == [1, 1, 1]
    last = [result["states"][-1] for result in found]
    differ = [n for n in last[0] if not torch.equal(last[0][n], last[1][n])]
    # The first process counts one pass more per step; nothing reads the count.
    assert all(name.endswith("num_batches_tracked") for name in differ)


def test_synchronised_batch_norm_is_refused(small_bank):
    with pytest.raises(UserError, match=r"sync_bn does not go together with uda\.depth"):
        build(small_bank).check_sync_bn()
    build(small_bank, depth=dict(guidance=False)).check_sync_bn()
