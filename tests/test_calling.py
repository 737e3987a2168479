"""Commands are named as they were called: a checkout's scripts, or ``mmseg-uda COMMAND``."""

import sys
from pathlib import Path

import pytest

from mmseg_uda import calling, commands
from mmseg_uda.calling import CALLED, COMMANDS, as_called, program
from mmseg_uda.cli import Parser
from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level

ROOT = Path(__file__).parents[1]
TEXTS = [
    ("Convert them: python tools/convert_datasets/gta.py data/gta --nproc 8",
     "Convert them: mmseg-uda convert-gta data/gta --nproc 8"),
    ("tools/test.py, tools/infer.py and dynalign_mapillary.py take it.",
     "mmseg-uda test, mmseg-uda infer and mmseg-uda dynalign-mapillary take it."),
    ("run_experiments.py --exp 90 shows them.", "mmseg-uda run --exp 90 shows them."),
    ("python tools/gta.py, data/tools/train.py, run_seg.pyc", None),  # others' files
    ("tools/ship_weights.py is for developers.", None),
]  # fmt: skip


@pytest.fixture
def by_name(monkeypatch):
    monkeypatch.setenv(CALLED, "doctor")


@pytest.mark.parametrize(("text", "named"), TEXTS)
def test_scripts_in_a_text(by_name, text, named):
    assert as_called(text) == (named or text)


def test_a_checkout_names_its_scripts(monkeypatch):
    monkeypatch.delenv(CALLED, raising=False)
    assert [as_called(text) for text, _ in TEXTS] == [text for text, _ in TEXTS]


def test_an_installed_package_names_what_it_has(monkeypatch):
    monkeypatch.delenv(CALLED, raising=False)
    monkeypatch.setattr(calling, "PACKED", True)
    assert as_called("python tools/doctor.py CONFIG") == "mmseg-uda doctor CONFIG"
    assert as_called("(docs/data.md)") == f"({calling.ROOT}/docs/data.md)"
    for given in ("-e '.[wandb]'", "-e .[wandb] -c constraints.txt"):
        assert as_called(f"pip install {given}.") == "pip install 'mmseg_uda[wandb]'."


def test_errors_and_findings_do_so_themselves(by_name):
    text, named = TEXTS[0]
    error, finding = UserError(text, fix=text), Finding("data", Level.NOTE, text, fix=text)
    assert str(error) == str(finding) == f"{named}\n  Fix: {named}"
    assert (error.fix, finding.fix) == (named, named)


@pytest.mark.parametrize(
    ("script", "called", "name"),
    [
        ("tools/infer.py", None, "tools/infer.py"),
        ("tools/infer.py", "infer", "mmseg-uda infer"),
        ("tools/train.py", "run", "mmseg-uda train"),  # a process of another command
        ("run_experiments.py", "list", "mmseg-uda list"),
        ("run_experiments.py", "run", "mmseg-uda run"),
        ("/elsewhere/tools/infer.py", None, "infer.py"),
    ],
)
def test_the_program(monkeypatch, script, called, name):
    monkeypatch.delenv(CALLED, raising=False)
    if called is not None:
        monkeypatch.setenv(CALLED, called)
    monkeypatch.setattr(sys, "argv", [str(ROOT / script)])
    assert program() == name
    assert Parser().format_usage().startswith(f"usage: {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(monkeypatch, capsys, name):
    monkeypatch.setenv(CALLED, "")  # and back afterwards
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["mmseg-uda", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert shown.startswith(f"usage: mmseg-uda {name} ")
    assert [script for script, _ in COMMANDS.values() if script in shown] == []


def test_every_script_has_a_command():
    scripts = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tools/**/*.py")}
    scripts |= {path.name for path in ROOT.glob("*.py")} - {"setup.py", "experiments.py"}
    of_developers = {"tools/ship_weights.py", "tools/make_metafiles.py"}
    assert {script for script, _ in COMMANDS.values()} == scripts - of_developers


def test_every_command_has_our_parser():
    """Another one knows neither how it was called nor what an unknown option is most like."""
    files = [*ROOT.glob("mmseg_uda/**/*.py"), *ROOT.glob("tools/**/*.py"), *ROOT.glob("*.py")]
    assert len(files) > 300
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    assert [path for path, text in texts.items() if "ArgumentParser(" in text] == []
