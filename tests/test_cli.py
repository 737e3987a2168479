import argparse
import errno
import importlib
import os
import subprocess
import sys

import pytest

from mmseg_uda.cli import Parser, most_workers, run_tool, worker_count
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
    parser = Parser(prog="tool")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--work-dir")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and f"tool: error: unrecognized arguments: {given[0]}" in told
    assert (near in told) if near else ("Did you mean" not in told)


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        (["--eval", "mIoU"], "mIoU is always computed"),
        (["--resume-from", "x"], "newest checkpoint of the work directory"),
        (["--resume", "work_dirs/x.pth"], "--cfg-options load_from=FILE"),
        (["--gpu-id", "0"], "CUDA_VISIBLE_DEVICES"),
        (["--seed", "a"], "tool --help shows"),
        (["--zzz"], "tool --help shows"),
    ],
)
def test_options_of_mmsegmentation_are_answered(capsys, given, instead):
    """In two lines: neither all options before them, nor '--eval: did you mean --help?'."""
    parser = Parser(prog="tool")
    for name in ("--resume", "--cfg-options", "--targets"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--seed", type=int)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given)
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 2
    assert lines[1].startswith("  Fix: ") and instead in lines[1]


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("make_miniworld", ["--train", "0"]),
        ("make_miniworld", ["--val", "-1"]),
        ("benchmark", ["--steps", "0"]),
        ("benchmark", ["--batch-size", "0"]),
        ("benchmark", ["--crop", "64", "6x"]),
    ],
)
def test_numbers_of_which_there_must_be_one(monkeypatch, capsys, command, wrong):
    config = ["configs/daformer/gta2cs_daformer.py"] if command == "benchmark" else []
    monkeypatch.setattr("sys.argv", [f"{command}.py", *config, *wrong])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"mmseg_uda.commands.{command}").main()
    assert ended.value.code == 2
    assert f"{wrong[-1]!r} is no whole number of at least 1" in capsys.readouterr().err


def test_an_option_that_the_command_cannot_replace_is_only_unknown(capsys):
    with pytest.raises(SystemExit):
        Parser(prog="tool").parse_args(["--aug-test"])
    assert "--tta" not in capsys.readouterr().err


def end_unread(main):
    """Exit status of a tool whose output goes into a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as output, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as ended:
            run_tool(main)
        output.write("what is left goes nowhere")
        output.flush()
    return ended.value.code


def test_a_reader_that_has_gone_ends_a_tool():
    assert end_unread(lambda: print("line\n" * 100_000)) == 1


def test_a_reader_that_has_gone_at_the_end():
    """What is short is written when the program ends; its status stays its own."""
    parser = Parser(prog="tool")
    assert end_unread(lambda: print("line")) == 0
    assert end_unread(lambda: (print("line"), 3)[1]) == 3
    assert end_unread(lambda: parser.parse_args(["--help"]) and None) == 0


def test_a_broken_pipe_to_another_place_is_a_fault(monkeypatch):
    def main():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with open(os.devnull, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(BrokenPipeError):
            run_tool(main)


@pytest.mark.parametrize("words", [["-m", "mmseg_uda"], ["run_experiments.py", "--list"]])
def test_a_pipe_that_nobody_reads(words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == "" and done.returncode in (0, 1)


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
