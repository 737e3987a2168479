"""``mmseg-uda`` runs every script, from a wheel without its checkout, too."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from mmseg_uda import commands
from mmseg_uda.miniworld import WorldOptions, ensure_miniworld

ROOT = Path(__file__).parents[1]
COUNTS = {"synthia": {"train": 4}, "cityscapes": {"train": 4, "val": 2}}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the package from a wheel, beside the libraries of this one."""
    out = tmp_path_factory.mktemp("built")
    build = ["egg_info", "--egg-base", out, "build", "--build-base", out / "build"]
    call("setup.py", "-q", *build, "bdist_wheel", "--dist-dir", out, cwd=ROOT)
    (wheel,) = out.glob("*.whl")
    call("-m", "venv", "--without-pip", out / "venv")
    python = out / "venv/bin/python"
    # As a path, without what its .pth files say: this checkout is not in there.
    (site,) = out.glob("venv/lib/python*/site-packages")
    libraries = Path(sysconfig.get_path("purelib"))
    (site / "libraries.pth").write_text(f"{libraries}\n")
    options = ["-q", "--no-index", "--no-deps", "--no-compile", "--force-reinstall", wheel]
    call("-m", "pip", "--python", python, "install", *options)
    return out / "venv"


def call(*words, cwd=None):
    """Runs Python."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def run(installed, tmp_path_factory):
    """Runs ``mmseg-uda`` in a folder without anything."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*words):
        return subprocess.run(
            [installed / "bin/mmseg-uda", *map(str, words)],
            cwd=folder,
            env={**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )

    run.folder = folder
    return run


def test_scripts_configs_and_pages_are_in_the_package(installed):
    (packed,) = installed.glob("lib/python*/site-packages/mmseg_uda/.mim")
    for script, _ in commands.COMMANDS.values():
        assert (packed / script).read_bytes() == (ROOT / script).read_bytes()
    for pattern in ("configs/**/*.py", "configs/**/*.yml", "model-index.yml", "docs/*.md"):
        names = {path.relative_to(packed) for path in packed.glob(pattern)}
        assert names == {path.relative_to(ROOT) for path in ROOT.glob(pattern)} != set()


def test_tables_are_listed_from_another_folder(run):
    done = run("list")
    assert done.returncode == 0, done.stderr
    assert "DAFormer" in done.stdout and "mmseg-uda run --exp ID --dry-run" in done.stdout


def test_a_config_of_the_package_is_shown(run):
    done = run("show-config", "mic/gtaHR2csHR_mic_hrda", "--key", "uda.masking.mask_ratio")
    assert done.returncode == 0, done.stderr
    assert "uda.masking.mask_ratio = 0.7" in done.stdout
    assert "_base_/methods/mic.py" in done.stdout


def test_a_row_starts_and_its_network_segments(run):
    """On a world of a few frames; ``run`` itself would draw the whole one."""
    options = WorldOptions(counts=COUNTS)
    ensure_miniworld(run.folder / "data/miniworld", None, options, list(COUNTS), workers=1)
    row = ["--exp", 90, "--rows", 1, "--seeds", 0, "--profile", "mini"]
    done = run("run", *row, "--startup-test", "--dry-run")
    assert done.returncode == 0, done.stderr
    (config,) = run.folder.glob("work_dirs/*/configs/*.py")
    changes = ["model.backbone.init_cfg=None", "default_hooks.checkpoint.save_last=True"]
    done = run("train", config, "--work-dir", "job", "--cfg-options", *changes)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (image, *_) = run.folder.glob("data/miniworld/cityscapes/leftImg8bit/val/*/*.png")
    done = run("infer", config, "job/iter_2.pth", image, "--out", "seen", "--write", "ids")
    assert done.returncode == 0, done.stderr
    assert len([*run.folder.glob("seen/ids/**/*.png")]) == 1


def test_help_names_every_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmseg-uda", "--help"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in commands.COMMANDS)


def test_an_unknown_command_is_answered_with_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmseg-uda", "trian"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 2
    assert "Did you mean train?" in capsys.readouterr().err
