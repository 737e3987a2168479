"""Drill: configs whose names make no folder of their own; nothing is written anywhere."""

import runpy
import sys

import pytest

from mmseg_uda.cli import run_name
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import cli

ODD = ["..py", ".py", "...py", "....py", "line\nbreak.py", "tab\t.py", f"{'x' * 230}.py"]
TOOLS = {
    "train": ("tools/train.py", ()),
    "test": ("tools/test.py", ("weights.pth",)),
    "align": ("tools/align.py", ()),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder within a folder, with a few things that a run must leave alone."""
    folder = tmp_path / "above/project"
    (folder / "work_dirs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("tool", TOOLS)
def test_tools(project, monkeypatch, capsys, tool, name, request):
    (project / name).write_text("model = dict()\nalignment = dict()\nsource = data = dict()\n")
    before = contents(project.parents[1])
    script, more = TOOLS[tool]
    monkeypatch.setattr(sys, "argv", [script, f"./{name}", *more])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(request.config.rootpath / script), run_name="__main__")
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("Error: The config") and "Traceback" not in error
    assert contents(project.parents[1]) == before


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("more", [("--dry-run",), ("--report",), ("--gpus", "cpu")])
def test_run_experiments(project, capsys, name, more):
    (project / name).write_text("model = dict()\n")
    before = contents(project.parents[1])
    assert cli.main((), ["--config", name, *more]) == 2
    assert capsys.readouterr().err.startswith("Error: The config")
    assert contents(project.parents[1]) == before


@pytest.mark.parametrize(
    "config, name",
    [
        ("configs/mic/gta.py", "gta"),
        ("a b.py", "a b"),
        ("-x.py", "-x"),
        ("con/../x.py", "x"),
        ("v1.2", "v1.2"),
        ("v1.2.py", "v1.2"),
        ("x.json", "x"),
        (".hidden.py", ".hidden"),
        ("größe.yaml", "größe"),
    ],
)
def test_usual_names_stay(config, name):
    assert run_name(config) == name


@pytest.mark.parametrize("name", [*ODD, "", ".", "..", "x/..", "/"])
def test_names_of_no_use(name):
    with pytest.raises(UserError, match="has a name from which none can be made"):
        run_name(name)
