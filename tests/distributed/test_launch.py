"""tools/dist_train.sh and dist_test.sh: two processes started by torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fixed_run import config, with_validation

from mmseg_uda.errors import REQUEUE_STATUS

ROOT = Path(__file__).parents[2]


def begin(script, *args):
    """Starts a script of tools/ with this interpreter."""
    helpers = str(ROOT / "tests/helpers")
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=f"{helpers}:{ROOT}")
    environment.update(GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    command = [ROOT / "tools" / script, *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


@pytest.fixture(scope="module")
def call():
    """Runs a script of tools/ to its end; returns it as finished."""

    def run(script, *args):
        process = begin(script, *args)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run


@pytest.fixture(scope="module")
def trained(call, tmp_path_factory):
    """A config file, and what two processes made of it."""
    folder = tmp_path_factory.mktemp("launch")
    changes = with_validation(folder, every=2)
    changes["test_dataloader"] = changes["val_dataloader"]
    changes["test_cfg"], changes["test_evaluator"] = dict(), changes["val_evaluator"]
    cfg = config(folder, 2, **changes)
    cfg.custom_imports.imports.append("process_tasks")
    cfg.default_hooks.logger.interval = 1
    cfg.dump(folder / "config.py")
    result = call("dist_train.sh", folder / "config.py", 2, "--work-dir", folder / "run")
    return folder, result


def test_training(trained):
    folder, result = trained
    assert result.returncode == 0, result.stderr[-3000:]
    assert int(torch.load(folder / "run/iter_2.pth")["state_dict"]["step"]) == 2
    (evaluation,) = json.loads((folder / "run/evaluations.json").read_text())
    assert evaluation["iter"] == 2 and 0 <= evaluation["mIoU"] <= 100
    logs = list((folder / "run").glob("*/*.log"))
    assert len(logs) == 1  # of the first process


def test_evaluation(trained, call):
    folder, _ = trained
    checkpoint = folder / "run/iter_2.pth"
    out = ["--work-dir", folder / "test"]
    result = call("dist_test.sh", folder / "config.py", checkpoint, 2, *out)
    assert result.returncode == 0, result.stderr[-3000:]
    (evaluation,) = json.loads((folder / "run/evaluations.json").read_text())
    assert result.stdout.count(f"mIoU: {evaluation['mIoU']:.2f}\n") == 1


def test_a_user_error_is_one_message_and_status_2(trained, call):
    folder, _ = trained
    option = ["--cfg-options", "uda.masking.mode=upside_down"]
    result = call("dist_train.sh", folder / "config.py", 2, "--work-dir", folder / "bad", *option)
    assert result.returncode == 2
    assert result.stderr.count("uda.masking.mode='upside_down' is unknown") == 1
    assert "Traceback" not in result.stderr


def test_an_error_in_one_process_ends_all_with_its_message(trained, call):
    folder, _ = trained
    option = ["--cfg-options", "train_dataloader.dataset.type=BrokenInOneProcess"]
    result = call("dist_train.sh", folder / "config.py", 2, "--work-dir", folder / "one", *option)
    assert result.returncode == 2, result.stderr[-3000:]
    assert result.stderr.count("images/1.png is no picture") == 1
    assert "Traceback" not in result.stderr


def test_a_stop_signal_saves_once_and_asks_to_be_run_again(trained):
    folder, _ = trained
    options = ["train_cfg.max_iters=100000", "default_hooks.checkpoint.interval=100000"]
    options += ["train_cfg.val_interval=100000"]
    command = ["dist_train.sh", folder / "config.py", 2, "--work-dir", folder / "stopped"]
    process = begin(*command, "--cfg-options", *options)
    while not (folder / "stopped/progress.json").exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == REQUEUE_STATUS, errors[-3000:]
    assert "Traceback" not in errors
    (saved,) = (folder / "stopped").glob("iter_*.pth")
    assert int(torch.load(saved)["state_dict"]["step"]) == int(saved.stem[5:])


def test_usage(call):
    for script in ("dist_train.sh", "dist_test.sh"):
        result = call(script, "config.py")
        assert result.returncode == 2 and f"tools/{script} CONFIG" in result.stderr
