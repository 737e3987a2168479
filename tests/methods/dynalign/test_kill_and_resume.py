"""kill -9 after k images, the same command again: byte for byte the uninterrupted run."""

import os
import signal
import time

import pytest
import toy_alignment as toy
from child import end_of, start, wait_for

STAGES = ("propose", "predict", "score", "relabel")
IMAGES, FINISHED = 8, 3


def slowly(root, out, stage):
    """All stages; the given one takes so long that a kill hits it."""
    made = toy.pipeline(root, out)
    work = made.run.stages[stage].work

    def delayed(item, loaded):
        time.sleep(0.15)
        work(item, loaded)

    made.run.stages[stage].work = delayed
    made(list(made.run.stages.values()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = toy.write_world(tmp_path_factory.mktemp("world"), IMAGES)
    toy.run_all(root, root / "whole")
    return root


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_is_finished_by_the_same_command(whole, tmp_path, stage):
    out = tmp_path / "out"
    process = start(slowly, whole, out, stage)
    records = out / stage

    def some():
        return len(list(records.rglob("[!.]*.npz"))) >= FINISHED if records.is_dir() else False

    wait_for(some, process)
    os.kill(process.pid, signal.SIGKILL)
    assert end_of(process) == -signal.SIGKILL
    kept = len(list(records.rglob("[!.]*.npz")))
    assert FINISHED <= kept < IMAGES
    summary = toy.run_all(whole, out)
    assert summary["stages"][stage]["done"] == IMAGES - kept
    assert summary["stages"][stage]["skipped"] == kept
    earlier = STAGES[: STAGES.index(stage)]
    assert all(summary["stages"][name]["done"] == 0 for name in earlier)
    kinds = (*STAGES, "labels", "confidence", "text")
    assert toy.files(out, *kinds) == toy.files(whole / "whole", *kinds)
