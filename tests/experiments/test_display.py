import io

import pytest
from rich.console import Console

from mmseg_uda.experiments.display import LiveDisplay, PlainDisplay, clock, make_display
from mmseg_uda.experiments.executors import Task
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.jobs import JobFolder, State
from mmseg_uda.files import write_json


@pytest.fixture
def task(tables, tmp_path):
    job = find_experiment(tables, 90).jobs()[3]
    folder = JobFolder(tmp_path / job.name)
    folder.path.mkdir()
    progress = {"iter": 300, "max_iters": 1200, "seconds_per_iter": 0.12, "eta_seconds": 108}
    write_json(folder.path / "progress.json", progress)
    write_json(folder.path / "evaluations.json", [{"iter": 200, "mIoU": 33.33}])
    config = tmp_path / "c.py"
    return Task(job, folder, config, "f", place="GPU 3", state=State.RUNNING, ran=True)


def console(**options):
    return Console(file=io.StringIO(), width=100, **options)


def test_the_table_follows_the_progress_files(task):
    screen = console(force_terminal=True, color_system=None)
    with make_display(screen) as display:
        assert isinstance(display, LiveDisplay)
        display.update([task])
    text = screen.file.getvalue()
    for part in ("2 DAFormer + CSI, seed 0", "GPU 3", "25%, 0:01:48 left", "33.3"):
        assert part in text
    assert "[dim]" not in text


def test_without_a_terminal_there_are_plain_lines(task):
    screen = console()
    with make_display(screen) as display:
        assert isinstance(display, PlainDisplay)
        display.note(task, "started on GPU 3")
        display.update([task])  # told just now, so silent
        display._told[task.job.name] -= 60
        display.update([task])
    first, second = screen.file.getvalue().splitlines()
    assert first.endswith("2 DAFormer + CSI, seed 0: started on GPU 3")
    assert second.endswith("300/1200 (25%), 0.120 s/it, 0:01:48 left")


def test_clock():
    assert clock(None) == "–"
    assert clock(3 * 3600 + 62.7) == "3:01:02"
