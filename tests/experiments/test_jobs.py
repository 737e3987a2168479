import json
import os

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.jobs import Action, JobFolder, State, fingerprint, outcome
from mmseg_uda.files import read_json, tail, write_text


def test_a_new_folder_starts(tmp_path):
    folder = JobFolder(tmp_path / "job")
    assert folder.claim("f") is Action.START
    folder.begin("f", pid=7)
    status = folder.status()
    assert (status.state, status.pid, status.fingerprint) == (State.RUNNING, 7, "f")
    folder.finish(State.DONE, 0)
    assert folder.claim("f") is Action.SKIP_DONE


def test_a_job_that_was_cut_off_resumes_and_its_time_adds_up(tmp_path):
    folder = JobFolder(tmp_path / "job")
    folder.claim("f")
    folder.begin("f", pid=7)
    folder.lock.release()  # what a kill -9 of runner and training does
    other = JobFolder(tmp_path / "job")
    assert other.claim("f") is Action.RESUME
    other.begin("f", pid=8)
    first = other.finish(State.INTERRUPTED, -15)
    assert other.claim("f") is Action.RESUME
    other.begin("f", pid=9)
    second = other.finish(State.DONE, 0)
    assert second.attempts == 3
    assert second.seconds >= first.seconds


def test_failed_jobs_run_again_only_when_asked(tmp_path):
    folder = JobFolder(tmp_path / "job")
    folder.claim("f")
    folder.begin("f", pid=7)
    folder.finish(State.FAILED, 1)
    assert folder.claim("f") is Action.SKIP_FAILED
    assert folder.claim("f", retry_failed=True) is Action.RESUME


def test_two_runners_never_have_the_same_job(tmp_path):
    first, second = JobFolder(tmp_path / "job"), JobFolder(tmp_path / "job")
    assert first.claim("f") is Action.START
    assert second.claim("f") is Action.SKIP_LOCKED
    first.lock.release()
    assert second.claim("f") is Action.START


def test_another_config_is_refused_or_put_aside(tmp_path):
    folder = JobFolder(tmp_path / "job")
    folder.claim("old")
    folder.begin("old", pid=7)
    (folder.path / "iter_9.pth").touch()
    folder.finish(State.DONE, 0)
    with pytest.raises(UserError, match="another config"):
        folder.claim("new")
    assert folder.claim("new", force=True) is Action.START
    assert not (folder.path / "iter_9.pth").exists()
    assert (tmp_path / "job.old-1" / "iter_9.pth").exists()
    assert folder.status().state is State.PENDING


def test_the_fingerprint_follows_what_changes_numbers_and_nothing_else():
    config = {"a": {"b": (1, 2)}, "work_dir": "x", "log_level": "INFO"}
    same = {"log_level": "DEBUG", "a": {"b": (1, 2)}, "work_dir": "y"}
    assert fingerprint(config) == fingerprint(same)
    hooks = {"checkpoint": {"max_keep_ckpts": 2}, "param_scheduler": {"type": "P"}}
    kept = {**config, "default_hooks": hooks, "vis_backends": ["local"]}
    other = {**kept, "default_hooks": {**hooks, "checkpoint": {"max_keep_ckpts": 1}}}
    assert fingerprint(kept) == fingerprint({**other, "vis_backends": ["local", "wandb"]})
    no_schedule = {**kept, "default_hooks": {**hooks, "param_scheduler": None}}
    assert fingerprint(kept) != fingerprint(no_schedule)
    assert fingerprint(config) != fingerprint({"a": {"b": (1, 3)}})
    assert fingerprint(config) != fingerprint(config, ("amp=bf16",))


@pytest.mark.parametrize(
    ("code", "asked", "expected"),
    [
        (0, "", (State.DONE, "")),
        (0, "by the user", (State.DONE, "")),
        (1, "", (State.FAILED, "exit status 1")),
        (1, "by the user", (State.INTERRUPTED, "by the user")),
        (75, "", (State.INTERRUPTED, "state saved")),
        (75, "by the user", (State.INTERRUPTED, "by the user, state saved")),
        (-9, "", (State.INTERRUPTED, "by SIGKILL")),
        (128 + 9, "", (State.INTERRUPTED, "by SIGKILL")),  # a rank of torchrun
        (-11, "", (State.FAILED, "exit status -11")),
    ],
)
def test_what_an_exit_status_means(code, asked, expected):
    assert outcome(code, asked) == expected


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_text(path, json.dumps([1]))

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_text(path, json.dumps([2]))
    assert read_json(path) == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_tail_of_a_log(tmp_path):
    path = tmp_path / "log"
    path.write_text("\n".join(map(str, range(1000))))
    assert tail(path, 2) == "998\n999"
    assert tail(tmp_path / "absent", 2) == ""
