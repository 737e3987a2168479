import argparse
import subprocess
import sys

import pytest

from mmseg_uda.cli import most_workers, suggest_options, worker_count
from mmseg_uda.labels.conversion import parse_options


def test_numbers_of_processes():
    assert worker_count("1") == 1 and worker_count(str(most_workers())) == most_workers() >= 64
    assert worker_count("0") == 0  # tools say themselves whether they take it
    for text in (str(most_workers() + 1), "99999999", "9" * 5000, "1e3", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="is no number of processes up to"):
            worker_count(text)


def test_a_converter_with_absurdly_many_processes(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gta.py", "data/gta", "--nproc", "99999999"])
    with pytest.raises(SystemExit) as ended:
        parse_options("Converts.", gt_dir="labels", nproc=4)
    assert ended.value.code == 2
    assert "argument --nproc: '99999999' is no number of processes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "near"),
    [
        (["--dryrun"], "Did you mean --dry-run?"),
        (["--worK-dir", "x"], "Did you mean --work-dir?"),
        (["--dry_run", "--seed", "1"], "Did you mean --dry-run?"),
        (["--zzz"], None),
        (["extra"], None),
    ],
)
def test_unknown_options_get_a_suggestion(capsys, given, near):
    suggest_options()
    parser = argparse.ArgumentParser(prog="tool")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--work-dir")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and f"tool: error: unrecognized arguments: {given[0]}" in told
    assert (near in told) if near else ("Did you mean" not in told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["daformer/gta2cs_daformr"], "There is no config daformer/gta2cs_daformr"),
        (["daformer/gta2cs_daformer", "--cfg-options", "uda.alpha"], "'uda.alpha' is no KEY=VALUE"),
    ],
)
@pytest.mark.parametrize("tool", ["train", "test"])
def test_typing_errors_load_no_torch(tool, arguments, message):
    code = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    more = ["weights.pth"] if tool == "test" else []
    words = [f"tools/{tool}.py", arguments[0], *more, *arguments[1:]]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ") and message in done.stderr
