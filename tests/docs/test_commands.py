"""Every command of README, docs and method cards runs as the page promises."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from child import run_script
from commands import read_commands
from PIL import Image
from tiny_data import write_image, write_palette_label, write_synthia_label
from trained_nano import save_trained, trained_config, write_frames

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "data/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "mmseg_uda").rglob("README.md")),
]
COMMANDS = [command for page in PAGES for command in read_commands(page)]
# It shows that the script starts by itself; the others need not import all of it again.
FIRST_OF_SCRIPT = {command.line.split()[1]: command for command in reversed(COMMANDS)}
LINKED = ("configs", "mmseg_uda", "tools", "experiments.py", "run_experiments.py")

pytestmark = pytest.mark.slow


def sandbox(root):
    """A project folder without data sets and weights."""
    for name in LINKED:
        (root / name).symlink_to(ROOT / name)
    for name in ("data", "pretrained", "work_dirs"):
        (root / name).mkdir()
    return root


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return sandbox(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A project folder with raw labels, a few pictures, and a trained network."""
    root = sandbox(tmp_path_factory.mktemp("stocked"))
    data = root / "data"
    ids = np.full((40, 60), 7)
    for name in ("gta", "gta16"):
        write_palette_label(data / name / "labels/00001.png", ids)
    write_synthia_label(data / "synthia/GT/LABELS/0000000.png", np.full((40, 60), 3))
    coloured = data / "camvid/LabeledApproved_full/0001TP_006690_L.png"
    coloured.parent.mkdir(parents=True)
    Image.new("RGB", (60, 40), (128, 64, 128)).save(coloured)
    shape = {"label": "road", "polygon": [[0, 0], [60, 0], [60, 40], [0, 40]]}
    polygons = data / "cityscapes/gtFine/train/a/a_0_0_gtFine_polygons.json"
    polygons.parent.mkdir(parents=True)
    polygons.write_text(json.dumps({"imgWidth": 60, "imgHeight": 40, "objects": [shape]}))
    for i in range(2):
        write_image(root / f"pictures/{i}.png", seed=i)
    config = trained_config("daformer", write_frames(root / "frames"))
    config.dump(root / "CONFIG.py")
    save_trained(config, root / "CHECKPOINT.pth")
    return root


def needs_files(command):
    return "CHECKPOINT" in command.line or "convert_datasets" in command.line


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, id=f"{c.page}: {c.line}") for c in COMMANDS if c.reason is None],
)
def test_command(command, request, tmp_path):
    project = request.getfixturevalue("stocked" if needs_files(command) else "bare")
    # What a command writes, another one would find.
    cwd = shutil.copytree(project, tmp_path / "project", symlinks=True)
    words = command.arguments({"CONFIG": "CONFIG.py", "CHECKPOINT": "CHECKPOINT.pth"})
    python = Path(sys.executable).parent
    changes = {"PATH": f"{python}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    how = dict(env={**os.environ, **changes}, capture_output=True, text=True, timeout=300)
    if words[0] == "python" and FIRST_OF_SCRIPT[words[1]] is not command:
        done = run_script(*words[1:], cwd=cwd, environment=changes)
    else:
        done = subprocess.run(words, cwd=cwd, **how)
    output = done.stdout + done.stderr
    assert done.returncode == command.status, output[-3000:]
    assert command.text in output
    assert "Traceback" not in output


def test_commands_are_found():
    assert {c.page for c in COMMANDS} >= {"README.md", "quick_start.md", "data.md", "running.md"}
    assert sum(c.reason is None for c in COMMANDS) > 20
