"""Drill: work directories of other trainings, changed configs, moved folders."""

import math
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from child import end_of, start, wait_for
from fixed_run import FixedBatches, config, with_validation

from mmseg_uda.cli import run_tool
from mmseg_uda.commands import train as command
from mmseg_uda.engine import NonFiniteError, build_runner
from mmseg_uda.engine.checkpoint import newest_first
from mmseg_uda.errors import UserError
from mmseg_uda.files import read_json

TOOL = Path(__file__).parents[2] / "tools" / "train.py"


def runner_of(work_dir, steps=4, allow=False, **changes):
    runner = build_runner(config(work_dir, steps, **changes))
    runner.allow_changes = allow
    return runner


def train(work_dir, steps=4, allow=False, **changes):
    """Returns the learning rate of every step that was trained."""
    runner = runner_of(work_dir, steps, allow, **changes)
    rates, train_step = {}, runner.model.train_step

    def spy(*args, **kwargs):
        rates[runner.iter] = [group["lr"] for group in runner.optim_wrapper.param_groups]
        return train_step(*args, **kwargs)

    runner.model.train_step = spy
    runner.train()
    return rates


def content(folder):
    """Everything in a folder but its lock: names, times and bytes of files."""
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
        if path.name != "train.lock"
    }


def tool(*arguments):
    """Runs tools/train.py in this (forked) process."""
    np.random.seed(None)  # each process draws numbers of its own, as a new one does
    sys.argv = [str(TOOL), *map(str, arguments)]
    runpy.run_path(str(TOOL))["main"]()


def write_config(path, **changes):
    cfg = config(path.parent / "unused", **changes)
    cfg.resume = False
    cfg.log_level = "INFO"
    cfg.dump(path)
    return path


# What a folder holds decides -------------------------------------------------------------------


def test_a_new_training_is_refused_beside_another_ones_checkpoints(tmp_path, capfd):
    """Other seed and alpha, killed before its first checkpoint, then --resume."""
    run, cfg = tmp_path / "run", write_config(tmp_path / "cfg.py")
    assert end_of(start(tool, cfg, "--work-dir", run)) == 0
    before = content(run)
    other = write_config(tmp_path / "cfg.py", **{"randomness.seed": 1, "uda.alpha": 0.5})
    capfd.readouterr()
    assert end_of(start(tool, other, "--work-dir", run)) == 2
    told = capfd.readouterr().err
    assert "holds checkpoints of an earlier training" in told and "--resume" in told
    assert end_of(start(tool, other, "--work-dir", run, "--resume")) == 2
    told = capfd.readouterr().err
    assert "uda.alpha" in told and "randomness.seed" in told and "--allow-changes" in told
    assert "Traceback" not in told
    assert content(run) == before
    assert end_of(start(tool, other, "--work-dir", tmp_path / "new", "--allow-changes")) == 2
    write_config(other, **{"uda.alpha": 0.5})
    assert end_of(start(tool, other, "--work-dir", run, "--resume", "--allow-changes")) == 0


def test_a_training_that_the_lock_refuses_touches_nothing(tmp_path, capfd):
    run, cfg = tmp_path / "run", write_config(tmp_path / "cfg.py", steps=1000)
    first = start(tool, cfg, "--work-dir", run)
    wait_for(lambda: newest_first(run) and (run / "progress.json").exists(), first)
    os.kill(first.pid, signal.SIGSTOP)  # it writes nothing meanwhile

    def second():
        command.require_loggers = lambda names: None  # whether or not wandb is installed
        tool(cfg, "--work-dir", run, "--resume", "--log", "wandb")

    try:
        before = content(run)
        write_config(cfg, steps=2000)
        assert end_of(start(second)) == 2
        assert f"Another process trains in {run}" in capfd.readouterr().err
        assert content(run) == before
    finally:
        os.kill(first.pid, signal.SIGKILL)
        end_of(first)


def test_a_refused_network_leaves_the_recorded_config(tmp_path):
    train(tmp_path)
    (recorded,) = tmp_path.glob("*.py")
    before = recorded.read_bytes()
    wider = {"model.decode_head.channels": 24}
    with pytest.raises(UserError, match="does not fit the config"):
        train(tmp_path, 8, allow=True, **wider)
    assert list(tmp_path.glob("*.py")) == [recorded] and recorded.read_bytes() == before


def warnings_of(runner):
    """What a runner warns of while it trains."""
    told = []
    runner.logger.warning = told.append
    runner.train()
    return "\n".join(told)


def test_a_finished_training_says_that_nothing_is_left(tmp_path):
    train(tmp_path)
    told = warnings_of(runner_of(tmp_path))
    assert "Nothing is left to train" in told and "max_iters=4" in told
    with pytest.raises(UserError, match="beyond the end of this training"):
        train(tmp_path, 2)


def test_leftovers_of_a_killed_training_go(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    left = ["iter_2.pth.partial", "best_mIoU_iter_2.pth.partial", ".progress-abc_12x9.json"]
    for name in left:
        (tmp_path / name).touch()
    (tmp_path / "bank.partial").mkdir()  # not ours: begun by a bank builder
    train(tmp_path, 2)
    assert [name for name in left if (tmp_path / name).exists()] == []
    assert (tmp_path / "bank.partial").is_dir()


# Changed configs --------------------------------------------------------------------------------


def warm_poly(steps):
    return [
        dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=3),
        dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=steps + 1),
    ]


GROUPS = dict(custom_keys={"head": dict(lr_mult=10.0), "norm": dict(decay_mult=0.0)})


def test_a_prolonged_training_takes_the_new_schedule(tmp_path):
    groups = {"optim_wrapper.paramwise_cfg": GROUPS}
    rates = train(tmp_path / "a", 4, param_scheduler=warm_poly(4), **groups)
    assert sorted(rates) == [0, 1, 2, 3]
    rates = train(tmp_path / "a", 8, param_scheduler=warm_poly(8), **groups)
    assert sorted(rates) == [4, 5, 6, 7]
    assert rates[4][-1] == pytest.approx(0.5e-3)  # the base rate
    whole = train(tmp_path / "b", 8, param_scheduler=warm_poly(8), **groups)
    assert rates == {step: whole[step] for step in rates}
    # once more, from a checkpoint of the changed run
    rates = train(tmp_path / "a", 10, param_scheduler=warm_poly(20), **groups)
    whole = train(tmp_path / "c", 10, param_scheduler=warm_poly(20), **groups)
    assert rates == {step: whole[step] for step in rates} and sorted(rates) == [8, 9]


def test_a_schedule_that_ends_with_the_training(tmp_path):
    """Without an ``end`` the length of the training is the schedule's."""
    schedule = dict(param_scheduler=[dict(type="PolyLR", power=1.0, by_epoch=False)])
    train(tmp_path / "a", 4, **schedule)
    rates = train(tmp_path / "a", 8, **schedule)
    whole = train(tmp_path / "b", 8, **schedule)
    assert rates == {step: whole[step] for step in (4, 5, 6, 7)} and rates[4][0] > 1e-4


def test_other_groups_and_another_optimizer_are_one_message(tmp_path):
    train(tmp_path)
    with pytest.raises(UserError, match="other parameter groups"):
        train(tmp_path, 8, allow=True, **{"optim_wrapper.paramwise_cfg": GROUPS})
    sgd = {"optim_wrapper.optimizer": dict(_delete_=True, type="SGD", lr=0.01)}
    with pytest.raises(UserError, match=r"optim_wrapper\.optimizer\.type changed"):
        train(tmp_path, 8, allow=True, **sgd)


def test_other_classes_behind_the_same_config(tmp_path):
    train(tmp_path)
    runner = runner_of(tmp_path, 8)
    runner.train_dataloader.dataset.metainfo = dict(classes=("b", "a", "c", "d", "e"))
    with pytest.raises(UserError, match=r"other classes \(a, b, c, d, e; now b, a, c, d, e\)"):
        runner.train()


def test_more_images_behind_the_same_config(tmp_path, monkeypatch):
    train(tmp_path)
    monkeypatch.setattr(FixedBatches, "__len__", lambda self: 12)
    with pytest.raises(UserError, match=r"other samples .* \(8, now 12\)"):
        train(tmp_path, 8)
    assert len(train(tmp_path, 8, allow=True)) == 4


def test_a_schedule_that_is_over_is_told(tmp_path):
    schedule = dict(param_scheduler=warm_poly(4))
    train(tmp_path, 4, **schedule)
    assert "learning rate is 0 from the resumed step 4" in warnings_of(
        runner_of(tmp_path, 8, **schedule)
    )


def test_a_seed_that_nobody_set_is_kept(tmp_path, capfd):
    """The data of a resumed run are those of the run, also where its seed was drawn."""
    cfg = write_config(tmp_path / "cfg.py", randomness=dict(seed=None))
    assert end_of(start(tool, cfg, "--work-dir", tmp_path / "run")) == 0
    seed = torch.load(tmp_path / "run/iter_4.pth", weights_only=True)["meta"]["seed"]
    write_config(cfg, steps=6, randomness=dict(seed=None))
    assert end_of(start(tool, cfg, "--work-dir", tmp_path / "run", "--resume")) == 0
    assert torch.load(tmp_path / "run/iter_6.pth", weights_only=True)["meta"]["seed"] == seed
    write_config(cfg, steps=8, randomness=dict(seed=None))
    assert end_of(start(tool, cfg, "--work-dir", tmp_path / "run", "--resume")) == 0
    assert "randomness" not in capfd.readouterr().err


# Moved folders ----------------------------------------------------------------------------------


def test_a_bad_step_after_a_move_is_written_where_the_run_is_now(tmp_path):
    old, new = tmp_path / "old", tmp_path / "elsewhere/new"
    train(old)
    new.parent.mkdir()
    shutil.move(old, new)
    runner = runner_of(new, 8)
    some = next(runner.model.model.parameters())
    runner.model.loss = lambda *_: {"loss_bad": some.sum() * math.nan}
    with pytest.raises(NonFiniteError, match=str(new)):
        runner.train()
    assert list(new.glob("non_finite_step_*.pth")) and not old.exists()


def test_the_best_checkpoint_of_a_moved_run_is_replaced(tmp_path):
    changes = with_validation(tmp_path, {"default_hooks.checkpoint.save_best": "mIoU"}, every=2)
    old, new = tmp_path / "old", tmp_path / "new"

    def go_on(work_dir, steps, *scores):
        runner = runner_of(work_dir, steps, **changes)
        build = runner.build_val_loop

        def build_and_patch(loop):
            built = build(loop)
            values = iter(scores)
            built.evaluator.evaluate = lambda size: {"mIoU": next(values)}
            return built

        runner.build_val_loop = build_and_patch
        runner.train()
        return sorted(path.name for path in work_dir.glob("best_*"))

    assert go_on(old, 4, 10.0, 20.0) == ["best_mIoU_iter_4.pth"]
    shutil.copytree(old, tmp_path / "copy")
    shutil.move(old, new)
    assert go_on(new, 6, 15.0) == ["best_mIoU_iter_4.pth"]
    hub = torch.load(new / "iter_6.pth", weights_only=True)["message_hub"]["runtime_info"]
    assert hub["best_ckpt"] == str(new / "best_mIoU_iter_4.pth") and hub["work_dir"] == str(new)
    # What was the best is known after two resumes as well.
    assert go_on(new, 8, 18.0) == ["best_mIoU_iter_4.pth"]
    assert go_on(new, 10, 30.0) == ["best_mIoU_iter_10.pth"]
    assert (new / "last_checkpoint").read_text() == str(new / "iter_10.pth")
    assert not old.exists()
    # A copy does not touch the original's.
    assert go_on(tmp_path / "copy", 6, 99.0) == ["best_mIoU_iter_6.pth"]
    assert [e["iter"] for e in read_json(new / "evaluations.json")] == [2, 4, 6, 8, 10]


# Initial weights --------------------------------------------------------------------------------


def test_weights_of_another_training_begin_a_new_one(tmp_path):
    train(tmp_path / "old")
    load = dict(load_from=str(tmp_path / "old/iter_4.pth"), resume=False)
    runner = runner_of(tmp_path / "new", 2, **load)
    runner.train()
    assert int(runner.model.step) == 2 and newest_first(tmp_path / "new")
    # of another trainer: its student
    runner = runner_of(tmp_path / "other", 2, **load, **{"uda.masking.alpha": 0.5})
    runner.train()
    assert int(runner.model.step) == 2


def test_a_best_checkpoint_is_not_resumed(tmp_path):
    train(tmp_path / "old")
    state = torch.load(tmp_path / "old/iter_4.pth", weights_only=True)
    state.pop("optimizer")
    torch.save(state, tmp_path / "best.pth")
    runner = runner_of(tmp_path / "new", 2, load_from=str(tmp_path / "best.pth"))
    told = warnings_of(runner)
    assert "best.pth is not the state of a training: it has no optimizer" in told
    assert int(runner.model.step) == 2


def test_exit_statuses(tmp_path):
    def refused():
        run_tool(lambda: (train(tmp_path, resume=False), None)[1])

    train(tmp_path)
    assert end_of(start(refused)) == 2
