"""Drill: the files that a run keeps beside its checkpoints are damaged. Nothing is lost."""

import json

import pytest
import torch
from fixed_run import config, with_validation

from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.jobs import Action, JobFolder, State
from mmseg_uda.models.weights.files import atomic_save

EVALUATION = '[{"iter": 2, "mIoU": 41.0, "IoU": {"a": 41.0}}]'


@pytest.mark.parametrize(
    "text", [EVALUATION[:20], '{"iter": 2}', EVALUATION.replace("2", '"2"', 1)]
)
def test_a_resumed_training_leaves_damaged_evaluations_alone(tmp_path, text):
    """Silently begun anew, the numbers before would be gone."""
    run = tmp_path / "run"
    options = with_validation(tmp_path, every=2)
    build_runner(config(run, 2, **options)).train()
    (run / "evaluations.json").write_text(text)
    with pytest.raises(UserError, match=r"run/evaluations\.json is damaged"):
        build_runner(config(run, 4, **options)).train()
    assert (run / "evaluations.json").read_text() == text
    assert (run / "iter_2.pth").is_file() and not (run / "iter_4.pth").exists()

    (run / "evaluations.json").unlink()
    build_runner(config(run, 4, **options)).train()
    assert [entry["iter"] for entry in json.loads((run / "evaluations.json").read_text())] == [2, 4]


STATUS = {"state": "done", "fingerprint": "abc", "pid": 5, "seconds": 7.5, "attempts": 1}


def test_a_sound_status(tmp_path):
    (tmp_path / "status.json").write_text(json.dumps({**STATUS, "of_a_newer_version": 1}))
    status = JobFolder(tmp_path).status()
    assert status.state is State.DONE and status.seconds == 7.5 and status.message == ""
    assert JobFolder(tmp_path).claim("abc") is Action.SKIP_DONE


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps(STATUS)[:30],
        "[1]",
        '"done"',
        json.dumps({**STATUS, "state": "finished"}),
        json.dumps({**STATUS, "state": ["done"]}),
        json.dumps({**STATUS, "fingerprint": 5}),
        json.dumps({**STATUS, "seconds": "7.5"}),
        json.dumps({**STATUS, "seconds": float("nan")}),
        json.dumps({**STATUS, "attempts": None}),
        json.dumps({**STATUS, "message": {}}),
    ],
)
def test_a_damaged_status_is_named_and_left_alone(tmp_path, content):
    """Taken for a job that was never started, a finished one would be trained again."""
    path = tmp_path / "status.json"
    path.write_text(content)
    folder = JobFolder(tmp_path)
    with pytest.raises(UserError, match=f"{path} is damaged") as error:
        folder.claim("abc")
    assert "Move it away" in error.value.fix and path.read_text() == content
    assert folder.lock.acquire()  # not held by the refused call


@pytest.mark.parametrize("name", ["status.json", "evaluations.json"])
@pytest.mark.parametrize("what", ["run", "report"])
def test_the_runner_ends_in_one_message(world, tmp_path, command, name, what):
    job = tmp_path / "job.py"
    world.config(tmp_path / "unused").dump(job)
    folder = tmp_path / "runs/job/job_s0"
    folder.mkdir(parents=True)
    (folder / name).write_text("[1")
    more = ["--report"] if what == "report" else ["--gpus", "cpu"]
    status, output = command(
        "run_experiments.py", "--config", job, "--work-dir", tmp_path / "runs", *more
    )
    assert (folder / name).read_text() == "[1"
    assert status == 2 and output.count(f"Error: {folder / name} is damaged") == 1
    assert "started" not in output


@pytest.mark.parametrize(
    "part, junk",
    [
        ("state_dict", 5),
        ("state_dict", {"model.x": "text"}),
        ("optimizer", [1]),
        ("optimizer.param_groups", {"state": {}, "param_groups": "text"}),
        ("optimizer.state", {"state": 3, "param_groups": []}),
        ("message_hub", {"runtime_info": 7}),
        ("meta.format_version", "new"),
    ],
)
def test_parts_of_a_checkpoint_that_are_of_another_kind(tmp_path, part, junk):
    build_runner(config(tmp_path / "run", 2)).train()
    checkpoint = torch.load(tmp_path / "run/iter_2.pth", weights_only=True)
    if part == "meta.format_version":
        checkpoint["meta"]["format_version"] = junk
    else:
        checkpoint[part.split(".")[0]] = junk
    foreign = tmp_path / "foreign.pth"
    atomic_save(checkpoint, foreign)
    options = {"load_from": str(foreign), "resume": True}
    with pytest.raises(UserError, match=rf"foreign\.pth is damaged: its {part}\."):
        build_runner(config(tmp_path / "new", 4, **options)).train()
