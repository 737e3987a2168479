"""Drill: killed during training or while a checkpoint is written, or out of disk space then."""

import os
import signal

import pytest
import torch
from child import end_of, start, wait_for
from fixed_run import config, with_validation
from mmengine.fileio import LocalBackend

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.checkpoint import newest_first, step_of
from mmseg_uda.errors import size_text


def train(work_dir, steps=6, **changes):
    build_runner(config(work_dir, steps, **changes)).train()


def whole_checkpoints(folder):
    """Names of the checkpoints; fails if one of them is not whole."""
    for path in newest_first(folder):
        torch.load(path, weights_only=True)
    return [path.name for path in newest_first(folder)]


def differing(one, other):
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (one, other))
    return [name for name in a if not torch.equal(a[name], b[name])]


def test_kill_9_during_training(tmp_path):
    """The same command again goes on from the newest checkpoint, bit for bit."""
    cut = tmp_path / "cut"
    process = start(train, cut, 1000)
    wait_for(lambda: len(newest_first(cut)) >= 2, process)
    os.kill(process.pid, signal.SIGKILL)
    assert end_of(process) == -signal.SIGKILL
    step = step_of(newest_first(cut)[0])
    assert 4 <= step < 1000

    runner = build_runner(config(cut, step + 3))
    trained, train_step = [], runner.model.train_step
    runner.model.train_step = lambda *a, **k: (trained.append(runner.iter), train_step(*a, **k))[1]
    runner.train()
    assert trained == [step, step + 1, step + 2]
    train(tmp_path / "whole", step + 3)
    last = f"iter_{step + 3}.pth"
    assert differing(cut / last, tmp_path / "whole" / last) == []


@pytest.mark.parametrize("keep", [1, 2])
def test_kill_9_in_the_middle_of_the_write(tmp_path, monkeypatch, keep):
    options = {"default_hooks.checkpoint.max_keep_ckpts": keep}
    cut, half_written = tmp_path / "cut", tmp_path / "half_written"

    def train_until_half_written():
        put = LocalBackend.put

        def put_half(self, content, path):
            half = "iter_4" in str(path)
            put(self, content[: len(content) // 2] if half else content, path)
            if half:
                half_written.touch()
                signal.pause()

        monkeypatch.setattr(LocalBackend, "put", put_half)
        train(cut, **options)

    process = start(train_until_half_written)
    wait_for(half_written.exists, process)
    os.kill(process.pid, signal.SIGKILL)
    assert end_of(process) == -signal.SIGKILL
    assert whole_checkpoints(cut) == ["iter_2.pth"]

    # At other steps, so that the half file is not just replaced.
    train(cut, **{**options, "default_hooks.checkpoint.interval": 3})
    train(tmp_path / "whole", **options)
    assert whole_checkpoints(cut) == ["iter_6.pth", "iter_3.pth"][:keep]
    assert not list(cut.glob("*.partial"))
    assert differing(cut / "iter_6.pth", tmp_path / "whole" / "iter_6.pth") == []


@pytest.mark.parametrize("keep", [1, 2])
def test_full_disk(tmp_path, capfd, keep):
    """/dev/full answers every write as a full disk does."""
    options = {
        "default_hooks.checkpoint.interval": 2,
        "default_hooks.checkpoint.max_keep_ckpts": keep,
    }

    def train_into_full_disk():
        runner = build_runner(config(tmp_path, 6, **options))
        train_step = runner.model.train_step

        def fill_disk(*args, **kwargs):
            if runner.iter == 3:
                (tmp_path / "iter_4.pth.partial").symlink_to("/dev/full")
            return train_step(*args, **kwargs)

        runner.model.train_step = fill_disk
        runner.train()

    assert end_of(start(train_into_full_disk)) == 2
    output = capfd.readouterr()
    assert "No space left to write" in output.err and "iter_4.pth" in output.err
    assert "max_keep_ckpts=1" in output.err and "--resume" in output.err
    assert "Traceback" not in output.err + output.out
    assert whole_checkpoints(tmp_path) == ["iter_2.pth"]
    assert not list(tmp_path.glob("*.partial"))
    told = output.err.split("It needs ")[1].split(";")[0]
    number, unit = told.split()
    actual, actual_unit = size_text((tmp_path / "iter_2.pth").stat().st_size).split()
    assert unit == actual_unit and float(number) == pytest.approx(float(actual), rel=0.5)

    train(tmp_path, **options)  # with space again
    assert whole_checkpoints(tmp_path) == ["iter_6.pth", "iter_4.pth"][:keep]


def test_full_disk_at_the_best_checkpoint_keeps_the_best_before(tmp_path):
    options = with_validation(
        tmp_path,
        {
            "default_hooks.checkpoint.save_best": "mIoU",
            "default_hooks.checkpoint.max_keep_ckpts": 1,
        },
        every=2,
    )
    run = tmp_path / "run"

    def train_with_rising_scores():
        runner = build_runner(config(run, 6, **options))
        compute = runner.val_evaluator.metrics[0].compute_metrics

        def rising(results):
            scores = {**compute(results), "mIoU": float(runner.iter)}
            if runner.iter == 4:
                (run / "best_mIoU_iter_4.pth.partial").symlink_to("/dev/full")
            return scores

        runner.val_evaluator.metrics[0].compute_metrics = rising
        runner.train()

    assert end_of(start(train_with_rising_scores)) == 2
    assert [path.name for path in run.glob("best_*")] == ["best_mIoU_iter_2.pth"]
    assert end_of(start(train_with_rising_scores)) == 0
    assert [path.name for path in run.glob("best_*")] == ["best_mIoU_iter_6.pth"]
    assert whole_checkpoints(run) == ["iter_6.pth"]


def test_full_disk_at_the_progress_file_costs_nothing(tmp_path):
    (tmp_path / "run").mkdir()

    def train_without_progress():
        import mmseg_uda.engine.job_files as job_files

        write_json = job_files.write_json

        def full(path, *args, **kwargs):
            if path.name == "progress.json":
                raise OSError(28, "No space left on device")
            write_json(path, *args, **kwargs)

        job_files.write_json = full
        train(tmp_path / "run", 2)

    assert end_of(start(train_without_progress)) == 0
    assert whole_checkpoints(tmp_path / "run") == ["iter_2.pth"]


def test_full_disk_at_another_file_is_one_message(tmp_path, capfd):
    options = with_validation(tmp_path, every=2)

    def train_without_evaluations():
        import mmseg_uda.files as files

        def full(descriptor):
            raise OSError(28, "No space left on device")

        build = build_runner(config(tmp_path / "run", 2, **options))
        val_step = build.model.val_step
        build.model.val_step = lambda data: (setattr(files.os, "fsync", full), val_step(data))[1]
        build.train()

    assert end_of(start(train_without_evaluations)) == 2
    output = capfd.readouterr()
    assert "No space left to write" in output.err and "evaluations.json" in output.err
    assert "Traceback" not in output.err + output.out
