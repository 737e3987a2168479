"""Drill: killed while a small file was being written; what is left goes, what is written stays."""

import os
import signal

import pytest
from child import end_of, start, wait_for

from mmseg_uda import files
from mmseg_uda.files import read_json, temporary_prefix, write_json, write_text
from mmseg_uda.models.weights import atomic_save


def temporaries(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def write_and_hang(write, *args):
    """Stops where everything is written and nothing is in its place yet."""

    def hang(handle):
        signal.pause()

    files.os.fsync = hang
    write(*args)


WRITES = {
    "json": lambda folder: write_json(folder / "progress.json", {"iter": 3}),
    "text without a suffix": lambda folder: write_text(folder / "last_checkpoint", "iter_2.pth"),
    "weights": lambda folder: atomic_save({"weight": 1}, folder / "student.pth"),
    "long name": lambda folder: write_text(folder / f"{'é' * 120}.tar gz", "x"),
}


@pytest.mark.parametrize("kind", WRITES)
def test_the_next_writer_cleans_up_after_a_killed_one(tmp_path, kind):
    process = start(write_and_hang, WRITES[kind], tmp_path)
    wait_for(lambda: temporaries(tmp_path), process)
    os.kill(process.pid, signal.SIGKILL)
    assert end_of(process) == -signal.SIGKILL
    assert len(temporaries(tmp_path)) == 1
    write_text(tmp_path / "other.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    process = start(write_and_hang, write_json, tmp_path / "progress.json", {"iter": 3})
    wait_for(lambda: temporaries(tmp_path), process)
    before = temporaries(tmp_path)
    write_json(tmp_path / "other.json", 1)
    assert temporaries(tmp_path) == before and read_json(tmp_path / "other.json") == 1
    os.kill(process.pid, signal.SIGKILL)
    end_of(process)


def test_files_of_another_machine_go_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(files.socket, "gethostname", lambda: "elsewhere")
    names = [f"{temporary_prefix(name)}abcdefgh.json" for name in ("old", "new")]
    monkeypatch.undo()
    for name in names:
        (tmp_path / name).touch()
    os.utime(tmp_path / names[0], (0, 0))
    write_json(tmp_path / "other.json", 1)
    assert temporaries(tmp_path) == names[1:]


def test_hidden_files_of_the_users_stay(tmp_path):
    for name in (".notes~", ".a~b~c.txt", ".progress-abcdefgh.json"):
        (tmp_path / name).touch()
    write_json(tmp_path / "other.json", 1)
    assert len(temporaries(tmp_path)) == 3


def test_folders_of_a_killed_runner_go_too(tmp_path):
    process = start(lambda: None)
    end_of(process)
    prefix = temporary_prefix("resolve").replace(str(os.getpid()), str(process.pid))
    left = tmp_path / f"{prefix}abcdefgh"
    left.mkdir()
    (left / "job.py").touch()
    write_text(tmp_path / "job.py", "")
    assert not left.exists()
