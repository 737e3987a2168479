"""Whole runs of two processes through the runner: resume, validation, agreement, refusals."""

import signal

import pytest
import torch
from fixed_run import with_validation
from mmengine.config import Config
from mmengine.model.utils import convert_sync_batchnorm
from nano import nano_config
from process_tasks import (
    decide,
    dropped_pixels,
    positions,
    run_config,
    run_plain_transformer,
    validate,
)
from processes import start, together

from mmseg_uda.engine.distributed import choose_sync_bn, wrapper_config
from mmseg_uda.engine.processes import check_launcher
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import SelfTraining


def checkpoint(folder, step):
    return torch.load(folder / f"iter_{step}.pth", weights_only=True)


def unequal(one, other, path=""):
    """Places where two nested containers of tensors and numbers differ."""
    if isinstance(one, dict):
        keys = sorted(one.keys() | other.keys(), key=str)
        return [p for k in keys for p in unequal(one.get(k), other.get(k), f"{path}.{k}")]
    if isinstance(one, list):
        pairs = zip(one, other, strict=True)
        return [p for i, pair in enumerate(pairs) for p in unequal(*pair, f"{path}.{i}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [path]


def test_killed_and_resumed_is_bit_exact(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    together(run_config, whole, 6)
    kill = dict(custom_hooks=[dict(type="KilledHook", step=3)])
    codes, _ = start(run_config, killed, 6, kill)
    assert codes == [-signal.SIGKILL] * 2
    assert (killed / "iter_2.pth").exists() and not (killed / "iter_4.pth").exists()
    partial = checkpoint(killed, 2)["state_dict"]
    assert partial["components.relabel.counts"].sum() > 0  # killed while boxes are counted
    together(run_config, killed, 6)
    expected, found = checkpoint(whole, 6), checkpoint(killed, 6)
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert unequal(expected[part], found[part]) == []
    names = expected["state_dict"]
    assert any(name.startswith("ema_model.") for name in names)
    assert not any(name.startswith("module.") for name in names)
    assert names["components.relabel.counts"].sum() > partial["components.relabel.counts"].sum()


@pytest.mark.parametrize("adapter", [None, dict(type="soma", rank=2, first_block=0)])
def test_plain_transformers_are_killed_and_resumed(tmp_path, adapter):
    """Two processes, with teachers that share what is frozen and with others."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    shared = together(run_plain_transformer, whole, 4, adapter)
    assert shared[0] == shared[1] and (shared[0] > 20) == bool(adapter)
    kill = dict(custom_hooks=[dict(type="KilledHook", step=3)])
    codes, _ = start(run_plain_transformer, killed, 4, adapter, kill)
    assert codes == [-signal.SIGKILL] * 2
    early = checkpoint(killed, 2)["state_dict"]
    assert together(run_plain_transformer, killed, 4, adapter) == shared
    expected, found = checkpoint(whole, 4), checkpoint(killed, 4)
    for part in ("state_dict", "optimizer", "param_schedulers"):
        assert unequal(expected[part], found[part]) == []
    late = expected["state_dict"]
    moved = [name for name in late if unequal(early[name], late[name])]
    assert any(".blocks.1." in name for name in moved)
    trained = (".lora_", "bias", "mask_token", "decode_head.", "step")
    assert all(any(t in name for t in trained) for name in moved) == bool(adapter)


def test_a_start_that_is_refused_ends_all_processes(tmp_path):
    together(run_config, tmp_path, 2)
    for changes, told in ((dict(resume=False), "--resume"), ({"uda.alpha": 0.5}, "uda.alpha")):
        _, results = start(run_config, tmp_path, 4, changes)
        assert [result["error"] for result in results] == ["UserError"] * 2
        assert told in results[0]["message"] and results[0]["message"] == results[1]["message"]
    _, (result,) = start(run_config, tmp_path, 4, world=1)
    assert "processes changed" in result["message"]


def test_validation_counts_every_image_once(tmp_path):
    changes = with_validation(tmp_path)
    changes["val_dataloader"]["dataset"]["type"] = "ThreeImages"
    (expected,) = together(validate, tmp_path, changes, world=1)
    assert together(validate, tmp_path, changes) == [expected] * 2
    assert expected["mIoU"] > 0


@pytest.mark.parametrize(
    "kind, term",
    [("nan", "alone.loss"), ("logged", "alone.loss"), ("slope", "gradient norm")],
)
def test_a_bad_step_in_one_process_stops_all_before_it(tmp_path, kind, term):
    changes = {"uda.late": dict(type="LossInOneProcess", kind=kind)}
    _, results = start(run_config, tmp_path, 6, changes)
    assert [result["error"] for result in results] == ["NonFiniteError"] * 2
    assert results[0]["message"] == results[1]["message"]
    assert f"Not finite at step 2 in process 1: {term}." in results[0]["message"]
    assert ("in process 0" in results[0]["message"]) == (kind == "slope")
    assert (tmp_path / "non_finite_step_2_process_1.pth").exists()
    assert (tmp_path / "iter_2.pth").exists() and not (tmp_path / "iter_4.pth").exists()


def test_each_process_draws_its_own(tmp_path):
    first, second = together(positions, 5, 4)
    assert not set(first) & set(second) and len(set(first + second)) == 8


@pytest.mark.parametrize("trainer", ["SelfTraining", "Supervised"])
def test_dropout_differs_between_processes_and_steps(trainer):
    (a, b), (c, d) = together(dropped_pixels, trainer)
    masks = [tuple(mask.tolist()) for mask in (a, b, c, d)]
    assert len(set(masks)) == 4


def test_the_first_process_decides():
    assert together(decide, False) == [(7, 1), (7, 0)]
    _, results = start(decide, True)
    assert [result["message"] for result in results] == ["No file.\n  Fix: Make one."] * 2


def test_sync_bn_is_refused_without_a_gpu(tmp_path):
    _, results = start(run_config, tmp_path, 2, dict(sync_bn=True))
    assert [result["error"] for result in results] == ["UserError"] * 2
    assert "GPUs only" in results[0]["message"]


def test_sync_bn_and_a_network_that_runs_alone_do_not_mix(monkeypatch):
    together = SelfTraining(nano_config())
    alone = SelfTraining(nano_config(), late=dict(type="LossInOneProcess"))
    cfg = Config(dict(sync_bn=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    choose_sync_bn(cfg, together)
    assert cfg.sync_bn == "torch"  # mmengine's spelling
    with pytest.raises(UserError, match=r"uda\.late"):
        choose_sync_bn(cfg, alone)
    with pytest.raises(UserError, match="'mmcv' is unknown"):
        choose_sync_bn(Config(dict(sync_bn="mmcv")), together)


def test_teachers_with_running_statistics_find_replaced_layers():
    trainer = SelfTraining(nano_config(), teacher_norm="running")
    convert_sync_batchnorm(trainer, "torch")
    trainer.teacher.set_modes()
    layers = [m for m in trainer.ema_model.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert layers and not any(layer.training for layer in layers)


def test_another_wrapper_is_refused():
    assert wrapper_config(dict(bucket_mib=8)) == dict(type="StepDataParallel", bucket_mib=8)
    with pytest.raises(UserError, match="MMDistributedDataParallel"):
        wrapper_config(dict(type="MMDistributedDataParallel"))


@pytest.mark.parametrize("launcher, missing", [("pytorch", "RANK"), ("slurm", "SLURM_PROCID")])
def test_a_launcher_that_did_not_start_the_process_is_named(monkeypatch, launcher, missing):
    monkeypatch.delenv(missing, raising=False)
    with pytest.raises(UserError, match=f"{missing} is not set"):
        check_launcher(launcher)


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--launcher is none"):
        check_launcher("none")
