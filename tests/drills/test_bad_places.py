"""Drill: work directories, homes, caches, disks and memory that are not as they should be."""

import errno
import logging
import os
import resource
import shutil
import tempfile

import pytest
import torch
from child import end_of, start
from fixed_run import config
from rights import forget_user, obey_modes

from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError


@pytest.fixture
def job(world, tmp_path):
    """A config file."""
    path = tmp_path / "job.py"
    world.config(tmp_path / "run").dump(path)
    return path


def a_file(tmp_path):
    (tmp_path / "place").touch()


def below_a_file(tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place/run").touch()


def read_only(tmp_path):
    (tmp_path / "place").mkdir(mode=0o555)


@pytest.mark.parametrize("spoil", [a_file, below_a_file, read_only])
@pytest.mark.parametrize("tool", ["tools/train.py", "tools/test.py", "run_experiments.py"])
def test_a_work_directory_that_cannot_be_used(job, tmp_path, command, tool, spoil):
    spoil(tmp_path)
    place = tmp_path / "place/run"
    what = {
        "tools/train.py": [job],
        "tools/test.py": [job, tmp_path / "weights.pth"],
        "run_experiments.py": ["--config", job],
    }
    status, output = command(tool, *what[tool], "--work-dir", place, before=obey_modes)
    assert status == 2 and f"Error: {tmp_path / 'place'}" in output and "Fix: Give a" in output


def test_other_tools_tell_before_they_work(job, tmp_path, command):
    a_file(tmp_path)
    place = tmp_path / "place"
    for tool, *arguments in (
        ("tools/make_miniworld.py", "--out", place),
        ("tools/make_miniworld.py", "--out", tmp_path / "data", "--weights", place),
        ("tools/convert_datasets/gta.py", tmp_path / "data/gta", "--out-dir", place),
    ):
        status, output = command(tool, *arguments)
        assert status == 2 and f"Error: {place} is no folder" in output


def test_without_user_home_and_cache(world, job, tmp_path, command):
    """The data set is read-only, so its statistics go to a cache in a home that is made."""
    world.gta.chmod(0o555)
    changes = ["train_dataloader.dataset.rare_class_sampling={min_pixels: 10}"]
    changes += ["train_cfg.max_iters=1", "train_dataloader.sampler.shuffle=True"]

    def before():
        obey_modes()
        forget_user()
        tempfile.tempdir = str(tmp_path)

    call = ("tools/train.py", job, "--work-dir", tmp_path / "run", "--cfg-options", *changes)
    status, output = command(*call, before=before)
    assert status == 0, output
    assert list(tmp_path.glob("mmseg_uda-*/.cache/mmseg_uda/*/class_stats_*.json"))

    def no_cache():
        obey_modes()
        os.environ["MMSEG_UDA_CACHE"] = "/proc/cache"

    shutil.rmtree(tmp_path / "run")
    status, output = command(*call, before=no_cache)
    assert status == 2 and "Set MMSEG_UDA_CACHE" in output
    assert str(world.gta) in output and "/proc/cache" in output


def test_a_limit_on_the_size_of_files(job, tmp_path, command):
    def before():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    status, output = command("tools/train.py", job, "--work-dir", tmp_path / "run", before=before)
    assert status == 2 and f"{tmp_path / 'run'} cannot be used: File too large" in output
    assert "ulimit -f" in output


def test_a_checkpoint_above_the_limit_on_the_size_of_files(tmp_path, capfd):
    def train():
        runner = build_runner(config(tmp_path / "run"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        runner.train()

    assert end_of(start(train)) == 2
    output = capfd.readouterr()
    assert str(tmp_path / "run/iter_2.pth") in output.err and "File too large" in output.err
    assert "Traceback" not in output.err + output.out
    assert not list((tmp_path / "run").glob("*.partial"))


def test_a_disk_that_is_too_small_for_a_checkpoint(tmp_path, monkeypatch):
    """Told before the first step, not when the checkpoint is due."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50_000))
    runner = build_runner(config(tmp_path / "run"))
    runner.model.train_step = lambda *args, **kwargs: pytest.fail("a step was taken")
    with pytest.raises(UserError, match=r"No space left to write .*run/iter_N\.pth. It needs .*B"):
        runner.train()


def test_a_log_on_a_full_disk_is_told_once(tmp_path, capfd):
    def talk():
        logger = logging.getLogger("drill")
        logger.addHandler(logging.StreamHandler(open("/dev/full", "w")))  # noqa: SIM115
        for line in range(3):
            logger.error("line %d", line)

    assert end_of(start(talk)) == 0
    error = capfd.readouterr().err
    assert error.count("WARNING: log lines are lost") == 1 and "No space left" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("where", ["step", "worker"])
def test_memory_that_does_not_suffice(world, tmp_path, capfd, where):
    changes = {"train_dataloader.num_workers": 1} if where == "worker" else {}

    def train():
        runner = build_runner(world.config(tmp_path / "run", **changes))
        if where == "step":
            runner.model.train_step = lambda *args, **kwargs: torch.empty(1 << 50)
        else:
            loader = runner.build_dataloader(runner._train_dataloader)
            transforms = loader.dataset.source.pipeline.transforms
            transforms.insert(0, lambda results: bytearray(1 << 60))
            runner._train_dataloader = loader
        runner.train()

    assert end_of(start(train)) == 2
    output = capfd.readouterr()
    assert output.err.count("The memory does not suffice") == 1
    assert "train_dataloader.batch_size" in output.err
    assert "Traceback" not in output.err + output.out


def test_a_folder_in_place_of_a_checkpoint(tmp_path):
    """Told before the first step, not when the checkpoint of that step is to be written."""
    folder = tmp_path / "run/iter_4.pth"
    build_runner(config(tmp_path / "run", 2)).train()
    (folder / "inside").mkdir(parents=True)
    runner = build_runner(config(tmp_path / "run"))
    runner.model.train_step = lambda *args, **kwargs: pytest.fail("a step was taken")
    with pytest.raises(UserError, match=f"{folder} is a folder, not a file"):
        runner.train()
    assert (tmp_path / "run/iter_2.pth").is_file() and (folder / "inside").is_dir()


def test_an_error_of_the_program_keeps_its_traceback(capfd):
    def fail():
        raise OSError(errno.ECONNABORTED, "no file is to blame")

    assert end_of(start(fail)) == 1
    assert "Traceback" in capfd.readouterr().err
