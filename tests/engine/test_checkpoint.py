"""Saving, resuming and refusing checkpoints, through the runner."""

import json

import pytest
import torch
from fixed_run import config

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import NonFiniteError, build_runner, wrap_model
from mmseg_uda.engine.checkpoint import newest_checkpoint, newest_first, recorded_config
from mmseg_uda.errors import UserError


def state_after(work_dir, steps, **changes):
    build_runner(config(work_dir, steps, **changes)).train()
    return torch.load(work_dir / f"iter_{steps}.pth", weights_only=True)


def changing_runner(work_dir, **changes):
    runner = build_runner(config(work_dir, 4, **changes))
    runner.allow_changes = True
    return runner


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = state_after(tmp_path / "whole", 6)
    state_after(tmp_path / "parts", 4)
    parts = state_after(tmp_path / "parts", 6)
    assert whole["state_dict"].keys() == parts["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    assert int(parts["state_dict"]["step"]) == 6


def test_what_a_checkpoint_holds(tmp_path):
    checkpoint = state_after(tmp_path, 2)
    names = checkpoint["state_dict"]
    assert any(n.startswith("model.") for n in names)
    assert any(n.startswith("ema_model.") for n in names)
    assert not any("reference.network" in n or "imnet" in n for n in names)
    assert checkpoint["meta"]["format_version"] == 1
    assert {"optimizer", "param_schedulers"} <= checkpoint.keys()
    assert not list(tmp_path.glob("*.partial"))


def test_a_truncated_newest_checkpoint_is_passed_over(tmp_path):
    state_after(tmp_path, 4)
    newest = tmp_path / "iter_4.pth"
    newest.write_bytes(newest.read_bytes()[:1000])
    runner = build_runner(config(tmp_path, 6))
    starts = []
    original = runner.resume
    runner.resume = lambda path, *a, **k: (starts.append(path), original(path, *a, **k))
    runner.train()
    assert [path.endswith("iter_2.pth") for path in starts] == [True]
    assert runner.iter == 6


def test_a_truncated_checkpoint_is_none_of_those_that_are_kept(tmp_path):
    state_after(tmp_path, 4)
    newest = tmp_path / "iter_4.pth"
    newest.write_bytes(newest.read_bytes()[:1000])
    every = {"default_hooks.checkpoint.interval": 1, "default_hooks.checkpoint.max_keep_ckpts": 1}
    state_after(tmp_path, 3, **every)
    assert [path.name for path in newest_first(tmp_path)] == ["iter_4.pth", "iter_3.pth"]


def test_no_readable_checkpoint_is_an_error(tmp_path):
    (tmp_path / "iter_2.pth").write_bytes(b"nothing")
    with pytest.raises(UserError, match="No checkpoint in .* can be resumed"):
        build_runner(config(tmp_path)).train()


def test_another_configuration_is_refused(tmp_path):
    state_after(tmp_path, 2)
    changed = {"uda.masking.alpha": 0.5}  # brings a teacher of its own
    with pytest.raises(UserError, match="does not fit the config"):
        changing_runner(tmp_path, **changed).train()


def test_other_initial_weights_are_noticed(tmp_path):
    state_after(tmp_path, 2)
    with pytest.raises(UserError, match="feature distance"):
        changing_runner(tmp_path, randomness=dict(seed=5)).train()


def test_progress_is_written(tmp_path):
    state_after(tmp_path, 4)
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["iter"], progress["max_iters"]) == (4, 4)
    assert progress["seconds_per_iter"] > 0 and progress["eta_seconds"] == 0


def test_scalars_are_logged_as_means_of_the_interval(tmp_path):
    runner = build_runner(config(tmp_path, 2))
    seen = []
    original = runner.model.train_step

    def spy(*args, **kwargs):
        log = original(*args, **kwargs)
        seen.append(log["decode.loss_seg"].item())
        return log

    runner.model.train_step = spy
    runner.train()
    logged = runner.message_hub.get_scalar("train/decode.loss_seg").current()
    assert logged == pytest.approx(sum(seen) / 2)


@pytest.mark.parametrize(
    "key, answer",
    [
        ("mask_mode", "uda.masking.mode"),
        ("imnet_feature_dist_lambda", "uda.feature_distance.loss_weight"),
        ("color_jitter_probability", "uda.jitter_probability"),
        ("relabeling_cfg", "uda.relabel.mapping"),
        ("matrix_path", "uda.depth.bank"),
    ],
)
def test_flat_keys_are_answered(tmp_path, key, answer):
    cfg = config(tmp_path, **{f"uda.{key}": 1})
    with pytest.raises(UserError, match=answer):
        wrap_model(cfg)


def test_checkpoints_of_another_name_are_refused(tmp_path):
    changes = {"default_hooks.checkpoint.filename_tmpl": "step_{}.pth"}
    with pytest.raises(UserError, match=r"filename_tmpl='step_\{\}\.pth'"):
        build_runner(config(tmp_path, **changes))


def test_an_unknown_trainer_is_named(tmp_path):
    with pytest.raises(UserError, match="uda.type='DACS'"):
        wrap_model(config(tmp_path, **{"uda.type": "DACS"}))


def test_a_stock_optimizer_wrapper_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3))
    with pytest.raises(UserError, match="StepOptimWrapper"):
        build_runner(cfg).train()


def test_a_diverging_run_stops_and_keeps_the_batch(tmp_path):
    runner = build_runner(config(tmp_path, 6, **{"optim_wrapper.optimizer.lr": 1e30}))
    with pytest.raises(NonFiniteError, match="decode.loss_seg"):
        runner.train()
    (dump,) = tmp_path.glob("non_finite_step_*.pth")
    assert torch.load(dump, weights_only=True)["target"]["paths"]


def test_the_folder_of_a_released_checkpoint(tmp_path):
    released = dict(model=dict(type="EncoderDecoder"), data=dict(samples_per_gpu=2))
    (tmp_path / "211108_run.json").write_text(json.dumps(released))
    (tmp_path / "20211108.log.json").write_text('{"mode": "train"}\n{"mode": "val"}')
    with pytest.raises(UserError, match="holds no checkpoint"):
        newest_checkpoint(tmp_path)
    (tmp_path / "best_mIoU_iter_9.pth").touch()
    assert newest_checkpoint(tmp_path).name == "best_mIoU_iter_9.pth"
    (tmp_path / "latest.pth").touch()
    assert newest_checkpoint(tmp_path).name == "latest.pth"
    assert recorded_config(tmp_path).name == "211108_run.json"
    (tmp_path / "other.json").write_text(json.dumps(released))
    (tmp_path / "other.json").rename(tmp_path / "own.py")
    assert recorded_config(tmp_path).name == "own.py"
