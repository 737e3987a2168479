import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.jobs import JobFolder

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MINI = ("--exp", "90", "--profile", "mini")
ROW_1 = "syn2cs_dacs_a999_fdthings_rcs001_cpl_daformer_sepaspp_mitb5_poly10warm_rl_-1_to_-1_s0"
SOURCE_ONLY = "syn2cs_dacs_srconly_rcs001_daformer_sepaspp_mitb5_poly10warm_s0"


def calls(folder):
    path = folder / "calls.txt"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def state(folder):
    return json.loads((folder / "status.json").read_text())["state"]


def test_dry_run_shows_the_jobs_and_where_their_configs_are(run, tmp_path):
    status, text = run("--exp", "90", "--dry-run")
    assert status == 0
    assert "18 jobs" in text
    configs = sorted((tmp_path / "exp90" / "configs").iterdir())
    assert len(configs) == 18
    for path in configs:
        assert path.stem in text
        assert path.name in text
    assert [p.name for p in (tmp_path / "exp90").iterdir()] == ["configs"]


def test_jobs_train_once_and_the_report_is_written(run, tmp_path):
    status, text = run(*MINI, "--rows", "1", "7")
    folder = tmp_path / "exp90-mini"
    assert status == 0
    assert "done: 2 of 2 jobs" in text
    assert state(folder / ROW_1) == "done"
    assert "| 1 | DAFormer | 1/1 | 40.0 |" in (folder / "results.md").read_text()
    status, text = run(*MINI, "--rows", "1,7")
    assert status == 0
    assert calls(folder / ROW_1) == calls(folder / SOURCE_ONLY) == ["start"]


def test_the_training_gets_config_folder_and_options(run, tmp_path):
    run(*MINI, "--rows", "1", "--amp", "--cfg-options", "uda.alpha=0.9", "--threads", "3")
    folder = tmp_path / "exp90-mini"
    line = (folder / ROW_1 / "calls.txt").read_text()
    assert f"{folder}/configs/{ROW_1}.py" in line
    assert f"'--work-dir', '{folder / ROW_1}', '--resume', '--amp', 'bf16'" in line
    assert "'--cfg-options', 'uda.alpha=0.9'" in line
    assert (folder / ROW_1 / "threads.txt").read_text() == "3"


def fingerprint_of(folder):
    return json.loads((folder / "status.json").read_text())["fingerprint"]


def test_options_that_change_numbers_have_fingerprints_of_their_own(run, tmp_path):
    """In work directories of their own, so that no run is refused."""
    options = {
        "plain": (),
        "amp": ("--amp",),
        "fp16": ("--amp", "fp16"),
        "changed": ("--cfg-options", "uda.alpha=0.9"),
        "two processes": ("--gpus-per-job", "2", "--startup-test"),
        "one process": ("--startup-test",),
        "kept": ("--keep", "1"),
    }
    prints = {}
    for name, arguments in options.items():
        status, text = run(*MINI, "--rows", "7", *arguments, "--work-dir", str(tmp_path / name))
        assert status == 0, text
        variant = "exp90-mini-startup" if "--startup-test" in arguments else "exp90-mini"
        prints[name] = fingerprint_of(tmp_path / name / variant / SOURCE_ONLY)
    assert prints["plain"] == prints["kept"]  # keeping fewer checkpoints changes no number
    assert len(set(prints.values())) == len(options) - 1
    # The same folder with another option is another run.
    plain = ("--rows", "7", "--work-dir", str(tmp_path / "plain"))
    for name in ("amp", "changed"):
        status, text = run(*MINI, *plain, *options[name])
        assert status == 2 and "These folders hold runs with another config" in text
    assert run(*MINI, *plain, "--keep", "1")[0] == 0


def test_a_job_on_several_gpus_runs_under_torchrun(run, tmp_path):
    status, text = run(*MINI, "--rows", "7", "--gpus", "cpu", "--gpus-per-job", "2")
    folder = tmp_path / "exp90-mini" / SOURCE_ONLY
    assert status == 0
    ranks = sorted((folder / "ranks.txt").read_text().split())
    assert ranks == ["0", "1", "2", "2"]  # rank and number of processes; no GPU is visible
    assert "'--launcher', 'pytorch', '--work-dir'" in (folder / "calls.txt").read_text()
    assert "2 GPUs × 2 images = 4 images per domain, the published one 2" in text
    assert "train_dataloader.batch_size=1" in text
    # the published batch, shared out: nothing to say
    more = ("--cfg-options", "train_dataloader.batch_size=1", "--work-dir", str(tmp_path / "b"))
    _, text = run(*MINI, "--rows", "7", "--gpus-per-job", "2", "--dry-run", *more)
    assert "published" not in text


def test_a_failure_shows_the_log_and_stops_nothing_else(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAIL", "fdthings")
    status, text = run(*MINI, "--rows", "1", "7")
    folder = tmp_path / "exp90-mini"
    assert status == 1
    assert "out of cheese" in text
    assert (state(folder / ROW_1), state(folder / SOURCE_ONLY)) == ("failed", "done")
    monkeypatch.delenv("FAKE_FAIL")
    status, text = run(*MINI, "--rows", "1", "7")
    assert status == 1
    assert "--retry-failed" in text
    status, _ = run(*MINI, "--rows", "1", "7", "--retry-failed")
    assert status == 0
    assert calls(folder / ROW_1) == ["start", "resume"]


def test_a_folder_of_another_config_is_refused_unless_forced(run, tmp_path):
    assert run(*MINI, "--rows", "7")[0] == 0
    status, text = run(*MINI, "--rows", "7", "--cfg-options", "randomness.seed=5")
    folder = tmp_path / "exp90-mini"
    assert status == 2
    assert SOURCE_ONLY in text
    assert "--force" in text
    assert calls(folder / SOURCE_ONLY) == ["start"]
    assert run(*MINI, "--rows", "7", "--force", "--cfg-options", "randomness.seed=5")[0] == 0
    assert calls(folder / SOURCE_ONLY) == ["start"]
    assert (folder / f"{SOURCE_ONLY}.old-1").is_dir()


def test_a_job_of_another_runner_is_left_alone(run, tmp_path):
    lock = JobFolder(tmp_path / "exp90-mini" / SOURCE_ONLY).lock
    assert lock.acquire()
    status, text = run(*MINI, "--rows", "7")
    lock.release()
    assert status == 0
    assert "running elsewhere" in text
    assert calls(tmp_path / "exp90-mini" / SOURCE_ONLY) == []


def start_runner(tmp_path, environment, *arguments):
    code = (
        "import sys, experiments; from mmseg_uda.experiments import cli;"
        "cli.preflight.require = lambda *args, **kwargs: None;"
        f"sys.exit(cli.main(experiments.EXPERIMENTS, {list(arguments)!r},"
        f" train=({sys.executable!r}, {str(HERE / 'fake_train.py')!r}),"
        f" make_world=({sys.executable!r}, '-c', '')))"
    )
    environment = {**environment, "CUDA_VISIBLE_DEVICES": "", "FAKE_HANG": "srconly"}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["runner by Ctrl-C", "training by kill -9", "both by kill -9"])
def test_what_was_cut_off_resumes(run, tmp_path, environment, victim):
    arguments = (*MINI, "--rows", "7", "--work-dir", str(tmp_path))
    folder = tmp_path / "exp90-mini" / SOURCE_ONLY
    runner = start_runner(tmp_path, environment, *arguments)
    wait_for(lambda: (folder / "progress.json").exists() and (folder / "status.json").exists())
    pid = json.loads((folder / "status.json").read_text())["pid"]
    if victim == "runner by Ctrl-C":
        runner.send_signal(signal.SIGINT)
    elif victim == "training by kill -9":
        os.kill(pid, signal.SIGKILL)
    else:
        runner.kill()
        # The orphaned training keeps the lock, so that nobody else trains beside it.
        assert run(*MINI, "--rows", "7")[1].count("running elsewhere") == 1
        os.kill(pid, signal.SIGKILL)
    output, _ = runner.communicate(timeout=60)
    if victim == "runner by Ctrl-C":
        assert runner.returncode == 130
        assert "continues where it stopped" in output
    if victim != "both by kill -9":
        assert state(folder) == "interrupted"
    wait_for(lambda: JobFolder(folder).lock.acquire())
    assert run(*MINI, "--rows", "7")[0] == 0
    assert calls(folder) == ["start", "resume"]
    assert state(folder) == "done"


def test_startup_test_takes_seed_0_of_each_row(run, tmp_path):
    status, text = run("--exp", "90", "--startup-test", "--dry-run")
    assert status == 0
    assert len(list((tmp_path / "exp90-startup" / "configs").iterdir())) == 6
    assert run(*MINI, "--debug", "--dry-run")[0] == 0
    assert (tmp_path / "exp90-mini-debug" / "configs").is_dir()


def test_a_config_file_trains_as_a_table_of_one_row(run, tmp_path):
    config = tmp_path / "mine.py"
    base = ROOT / "configs/daformer/gta2cs_daformer.py"
    config.write_text(f"_base_ = [{str(base)!r}]\nuda = _base_.supervised\n")
    status, _ = run("--config", str(config), "--seeds", "3", "--gpus", "cpu")
    assert status == 0
    assert state(tmp_path / "mine" / "mine_s3") == "done"
    assert "seed=3" in (tmp_path / "mine" / "configs" / "mine_s3.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message", "fix"),
    [
        (("--exp", "9"), "no experiment 9", "90, 91, 92, 93, 94"),
        (("--exp", "90", "--rows", "9"), "no row 9", "1 to 6"),
        (("--exp", "90", "--rows", "all"), "'all' is no number", "--rows 1 3-4"),
        (("--config", "configs/nowhere.py"), "no config configs/nowhere.py", "configs/"),
        ((), "--exp ID", "--list"),
        (("--exp", "90", "--config", "x.py"), "Exactly one", "--list"),
        (("--exp", "90", "--executor", "k8s"), "no executor 'k8s'", "local, slurm, submitit-local"),
        (("--exp", "90", "--partition", "long"), "--partition is for a cluster", "slurm"),
        (("--exp", "90", "--executor", "slurm", "--gpus", "0,1"), "of this machine", "per-job"),
        (("--exp", "90", "--executor", "slurm", "--time", "soon"), "no duration", "HH:MM:SS"),
        (
            ("--exp", "90", "--executor", "slurm", "--slurm-options", "long"),
            "'long' is not of the form key=value",
            "account=vision",
        ),
        (("--exp", "90", "--gpus", "cpu", "--keep", "0"), "--keep 0", "positive"),
        (("--exp", "90", "--gpus", "0"), "no usable GPU.\n  Fix: Use --gpus cpu", "doctor"),
        (("--exp", "90", "--gpus", "all"), "no usable GPU", "--gpus cpu"),
        (("--exp", "90", "--cfg-options", "uda.alpha"), "no KEY=VALUE", "mask_ratio=0.5"),
        (("--exp", "90", "--cpu-jobs", "0"), "--cpu-jobs 0", "positive"),
        (("--exp", "90", "--seeds", "0-99999999"), "--seeds: '0-99999999' makes", "1000 at most"),
        (("--exp", "90", "--seeds", "1-900", "2000-2900"), "'2000-2900' makes", "1000 at most"),
        (("--exp", "90", "--rows", "1-99999999"), "--rows: '1-99999999' makes", "1000 at most"),
        (("--exp", "90", "--rows", "1-900"), "no row 7, 8, 9, 10, 11, ….", "1 to 6"),
        (("--exp", "90", "--seeds", "0-199"), "--rows and --seeds make 1200 jobs", "fewer"),
        (("--exp", "90", "--seeds", "5-1"), "--seeds: '5-1' runs backwards", "1-5"),
        (("--exp", "90", "--seeds", "4294967296"), "4294967296 is too large", "4294967295"),
        (("--exp", "90", "--seeds", "9" * 5000), "is too large", "4294967295"),
        (("--exp", "90", "--cpu-jobs", "99999999"), "--cpu-jobs 99999999 is more", "at most"),
        (("--exp", "90", "--gpus-per-job", "99999999"), "--gpus-per-job 99999999", "at most"),
        (("--exp", "90", "--threads", "99999999"), "--threads 99999999 is more", "at most"),
        (("--exp", "90", "--executor", "slurm", "--mem", "inf"), "--mem inf", "positive"),
    ],
)
def test_mistakes_are_answered_in_one_message(run, arguments, message, fix):
    status, text = run(*arguments)
    assert status == 2
    assert message in text
    assert fix in text
    assert "Traceback" not in text


def test_without_data_sets_the_paper_profile_says_what_to_get(command, tmp_path):
    status, text = command("--exp", "90", "--rows", "1")
    assert status == 2
    for title in ("SYNTHIA:", "Cityscapes:"):
        assert title in text
    root = tmp_path / "no_data"
    assert f"missing: {root}/synthia/RGB" in text
    assert f"python tools/convert_datasets/synthia.py {root}/synthia" in text
    assert "--profile mini" in text
    assert "Traceback" not in text
    assert not (tmp_path / "exp90" / ROW_1).exists()


def test_missing_data_sets_come_before_a_full_disk(command, monkeypatch):
    monkeypatch.setattr("mmseg_uda.experiments.disk.require_space", _no_space)
    status, text = command("--exp", "90", "--rows", "1")
    assert status == 2
    assert "SYNTHIA:" in text


def _no_space(need, folder):
    raise UserError("The disk is full.", fix="free space")


def test_data_root_moves_the_data_sets(command, tmp_path):
    _, text = command("--exp", "90", "--rows", "1", "--data-root", str(tmp_path / "elsewhere"))
    assert f"missing: {tmp_path}/elsewhere/synthia/RGB" in text


def test_report_can_be_rebuilt_at_any_time(run, tmp_path):
    status, text = run(*MINI, "--report")
    assert status == 0
    assert "| 1 | DAFormer | 0/1 | – |" in text
    assert (tmp_path / "exp90-mini" / "results.csv").exists()


@pytest.mark.parametrize(
    ("experiment", "option", "message", "fix"),
    [
        ("90", "uda.alpa=0.9", "Row 1 (DAFormer): uda.alpa", "Did you mean uda.alpha?"),
        ("411", "uda.subdomains.crf.radus=3", "Row 3 (SSDA): uda.subdomains.crf.radus", "radius"),
        ("411", "uda.subdomains.beta=0.2", "Row 1 (HRDA (DeepLabV2)): uda.subdomains", "--rows"),
        ("600", "alignment.options.treshold=1", "DynAlign has no option 'treshold'", "threshold"),
    ],
)
def test_a_misspelt_option_is_told_before_anything_is_trained(
    run, tmp_path, experiment, option, message, fix
):
    rows = ("--rows", "3") if "radus" in option else ()
    arguments = ("--exp", experiment, "--dry-run", "--work-dir", str(tmp_path), *rows)
    status, text = run(*arguments, "--cfg-options", option)
    assert status == 2
    assert message in text and fix in text


def test_options_that_fit_every_row_are_taken(run, tmp_path):
    options = ("--cfg-options", "uda.alpha=0.99", "train_cfg.max_iters=10")
    assert run("--exp", "301", "--dry-run", "--work-dir", str(tmp_path), *options)[0] == 0
