"""docs/original_commands.md: what stands for the papers' commands runs."""

import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
from child import run_script
from trained_nano import save_trained, trained_config, write_frames

from mmseg_uda.config_files import find_config, read_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/original_commands.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.*) \| `([^|]*)` \|$", PAGE, re.M)
COMMANDS = sorted({here for _, here in ROWS})
PLACEHOLDERS = {"CONFIG", "CHECKPOINT", "RUN_DIR", "OUT", "DIR"}
SCRIPTS = {"tools/dist_train.sh": "tools/train.py"}

pytestmark = pytest.mark.slow


@cache
def help_of(script):
    done = run_script(str(ROOT / script), "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_method_has_rows():
    titles = re.findall(r"^## (.*)", PAGE, re.M)
    assert titles == ["DAFormer, HRDA, MIC", "CSI", "CDDA", "SSDA", "SRHA", "DynAlign"]
    assert len(ROWS) == PAGE.count("\n| `") > 30


@pytest.mark.parametrize("command", [c for c in COMMANDS if "run_experiments.py" in c])
def test_tables(command, tmp_path):
    words = shlex.split(command)[1:]
    work = ("--work-dir", str(tmp_path))
    done = run_script(str(ROOT / words[0]), *words[1:], "--dry-run", *work, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "row 1" in done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if "run_experiments.py" not in c])
def test_options_and_configs(command):
    words = shlex.split(command)
    script = words[1] if words[0] in ("python", "sh") else words[0]
    assert (ROOT / script).is_file()
    assert words[0] in ("python", "sh") or os.access(ROOT / script, os.X_OK)
    if script != "test.sh":
        known = help_of(SCRIPTS.get(script, script))
        for flag in (word for word in words if word.startswith("--")):
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", known), flag
    config = next((word for word in words if word.startswith("configs/")), None)
    if config:
        keys = [w.partition("=")[0] for w in words if w.startswith("train_dataloader.")]
        config = read_config(find_config(ROOT / config), with_modules=False)
        assert all(config.get(key.split(".")[0])[key.split(".")[1]] for key in keys)


def test_a_runs_folder_is_evaluated(tmp_path):
    run = tmp_path / "run name"
    run.mkdir()
    config = trained_config("daformer", write_frames(tmp_path / "frames"))
    config.dump(run / "any.py")
    save_trained(config, run / "iter_2.pth")
    # The shell says which command it is; that runs in a fork, which has imported everything.
    how = dict(cwd=ROOT, env={**os.environ, "PYTHON": "echo"}, capture_output=True, text=True)
    told = subprocess.run(["sh", "test.sh", f"{run}/", "--tta"], **how)
    assert told.stdout.strip() == f"./tools/test.py {run}/ --out {run}/preds --tta"
    done = run_script("tools/test.py", f"{run}/", "--out", f"{run}/preds", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mIoU:" in done.stdout and list((run / "preds").glob("*.png"))
    done = subprocess.run(["sh", "test.sh"], **how)
    assert done.returncode == 2 and "RUN_DIR" in done.stderr
