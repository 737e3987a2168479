"""``mmseg-uda`` runs every script, from a built package without its checkout, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_uda import commands

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The package as a wheel holds it, in a folder of its own."""
    out = tmp_path_factory.mktemp("built")
    places = ["egg_info", "--egg-base", str(out), "build", "--build-base", str(out)]
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", *places, "--build-lib", str(out / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out / "site"


@pytest.fixture
def run(built, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mmseg_uda", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(built)},
            capture_output=True,
            text=True,
        )

    return run


def test_every_script_and_config_is_in_the_package(built):
    packed = built / "mmseg_uda" / ".mim"
    for script, _ in commands.COMMANDS.values():
        assert (packed / script).read_bytes() == (ROOT / script).read_bytes()
    configs = {path.relative_to(packed) for path in packed.glob("configs/**/*.py")}
    assert configs == {path.relative_to(ROOT) for path in ROOT.glob("configs/**/*.py")}


def test_tables_are_listed_from_another_folder(run):
    done = run("list")
    assert done.returncode == 0, done.stderr
    assert "DAFormer" in done.stdout


def test_a_config_of_the_package_is_shown(run):
    done = run("show-config", "mic/gtaHR2csHR_mic_hrda", "--key", "uda.masking.mask_ratio")
    assert done.returncode == 0, done.stderr
    assert "uda.masking.mask_ratio = 0.7" in done.stdout
    assert "_base_/methods/mic.py" in done.stdout


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
