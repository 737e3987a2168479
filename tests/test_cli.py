import argparse

import pytest

from mmseg_uda.cli import most_workers, worker_count
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
