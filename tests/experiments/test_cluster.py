"""Jobs through submitit: its local executor, and a Slurm of one node."""

import os
import signal
import sys
from pathlib import Path

import fake_slurm
import pytest
from child import end_of, start, wait_for

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import cli
from mmseg_uda.experiments.cluster import ClusterOptions, parse_minutes, sbatch_options
from mmseg_uda.experiments.jobs import JobFolder, State
from mmseg_uda.experiments.processes import family

pytest.importorskip("submitit")

FAKE_TRAIN = (sys.executable, str(Path(__file__).parent / "fake_train.py"))
NO_WORLD = (sys.executable, "-c", "")
MINI = ("--exp", "90", "--profile", "mini", "--gpus", "cpu")
LOCAL = (*MINI, "--executor", "submitit-local")
SLURM = (*MINI, "--executor", "slurm")


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    return fake_slurm.install(tmp_path / "slurm", monkeypatch)


def folders(tmp_path):
    return [path.parent for path in sorted(tmp_path.glob("exp90-mini/*/calls.txt"))]


def calls(folder):
    return [line.split()[0] for line in (folder / "calls.txt").read_text().splitlines()]


def status(folder):
    return JobFolder(folder).status()


def begin(tables, tmp_path, monkeypatch, *arguments):
    """The command in a process of its own, which a test may interrupt."""
    monkeypatch.setattr(cli.preflight, "require", lambda *args, **kwargs: None)
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path / "no_data"))
    line = ["--work-dir", str(tmp_path), *arguments]
    return start(lambda: sys.exit(cli.main(tables, line, FAKE_TRAIN, NO_WORLD)))


def running(tmp_path, count):
    def check():
        states = [status(folder).state for folder in folders(tmp_path)]
        return states.count(State.RUNNING) == count

    return check


def test_jobs_train_once_with_the_same_states_and_report(run, tmp_path):
    code, text = run(*LOCAL, "--rows", "7", "8", "--array", "2")
    assert code == 0, text
    assert "done: 2 of 2 jobs" in text and "submitted as submitit job" in text
    first, second = folders(tmp_path)
    for folder in (first, second):
        assert (status(folder).state, status(folder).attempts) == (State.DONE, 1)
        assert status(folder).cluster_job is None
        assert "a line of the log" in (folder / "train.log").read_text()
    assert (tmp_path / "exp90-mini" / "results.md").exists()
    code, text = run(*LOCAL, "--rows", "7", "8")
    assert code == 0 and text.count("done before") == 2
    assert calls(first) == calls(second) == ["start"]


def test_no_more_jobs_at_a_time_than_asked_for(run, tmp_path):
    assert run(*LOCAL, "--rows", "7", "8", "--array", "1")[0] == 0
    first, second = sorted(map(status, folders(tmp_path)), key=lambda s: s.started)
    assert first.ended <= second.started


def test_a_failed_job_shows_its_log(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAIL", "srconly")
    code, text = run(*LOCAL, "--rows", "7")
    assert code == 1 and "failed exit status 3" in text and "out of cheese" in text
    monkeypatch.delenv("FAKE_FAIL")
    assert run(*LOCAL, "--rows", "7", "--retry-failed")[0] == 0
    assert calls(folders(tmp_path)[0]) == ["start", "resume"]


def test_the_clusters_warning_makes_a_job_save_and_queue_again(tables, tmp_path, monkeypatch):
    for name, value in (("FAKE_HANG", "s0"), ("FAKE_ONCE", "1"), ("FAKE_SAVES", "1")):
        monkeypatch.setenv(name, value)
    runner = begin(tables, tmp_path, monkeypatch, *LOCAL, "--rows", "7")
    wait_for(running(tmp_path, 1), runner)
    (folder,) = folders(tmp_path)
    wait_for((folder / "progress.json").exists, runner)
    controller = int(status(folder).cluster_job)
    os.kill(family(controller)[1], signal.SIGUSR2)  # as before the end of the time limit
    assert end_of(runner) == 0
    assert calls(folder) == ["start", "resume"] and (folder / "saved").exists()
    # The table may never show the time in between: a free machine goes on at once.
    assert (status(folder).state, status(folder).attempts) == (State.DONE, 2)


def test_a_training_that_asks_to_be_run_again_is(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_EXIT", "75")
    assert run(*LOCAL, "--rows", "7")[0] == 0
    (folder,) = folders(tmp_path)
    assert calls(folder) == ["start", "resume"]
    assert status(folder).state is State.DONE


def test_ctrl_c_leaves_the_jobs_and_the_same_command_finds_them(
    tables, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_UNTIL", str(tmp_path / "go"))
    runner = begin(tables, tmp_path, monkeypatch, *LOCAL, "--rows", "7")
    wait_for(running(tmp_path, 1), runner)
    os.kill(runner.pid, signal.SIGINT)
    assert end_of(runner) == 130
    assert "stays on the cluster" in capfd.readouterr().out
    (folder,) = folders(tmp_path)
    assert status(folder).state is State.RUNNING

    runner = begin(tables, tmp_path, monkeypatch, *LOCAL, "--rows", "7")
    wait_for(lambda: "runs on" in capfd.readouterr().out, runner)
    (tmp_path / "go").touch()
    assert end_of(runner) == 0
    assert calls(folder) == ["start"] and status(folder).state is State.DONE


def test_ctrl_c_cancels_if_asked(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_SAVES", "1")
    arguments = (*LOCAL, "--rows", "7", "--cancel-on-interrupt")
    runner = begin(tables, tmp_path, monkeypatch, *arguments)
    wait_for(running(tmp_path, 1), runner)
    (folder,) = folders(tmp_path)
    wait_for((folder / "progress.json").exists, runner)
    os.kill(runner.pid, signal.SIGINT)
    assert end_of(runner) == 130
    wait_for((folder / "saved").exists)
    assert status(folder).state is State.INTERRUPTED


def test_slurm_gets_one_array_with_a_cap(run, tmp_path, slurm):
    arguments = ("--array", "2", "--time", "2-00:00:00", "--partition", "long", "--mem", "32")
    more = ("--slurm-options", "account=vision", "licenses=a:1", "--slurm-setup", "export SET=1")
    code, text = run(*SLURM, "--rows", "7", "8", "9", *arguments, *more)
    assert code == 0, text
    assert "done: 3 of 3 jobs" in text and "submitted as Slurm job 100_2" in text
    assert [calls(folder) for folder in folders(tmp_path)] == [["start"]] * 3
    script = (slurm / "100.sh").read_text()
    for line in (
        "array=0-2%2",
        "time=2880",
        "partition=long",
        "mem=32768MB",
        "account=vision",
        "licenses=a:1",
        "signal=USR2@90",
        "cpus-per-task=1",
    ):
        assert f"#SBATCH --{line}\n" in script
    assert "gpus" not in script and "export SET=1" in script


def test_slurm_preempts_and_the_job_goes_on(tables, tmp_path, monkeypatch, slurm):
    for name, value in (("FAKE_HANG", "s0"), ("FAKE_ONCE", "1"), ("FAKE_SAVES", "1")):
        monkeypatch.setenv(name, value)
    runner = begin(tables, tmp_path, monkeypatch, *SLURM, "--rows", "7")
    wait_for(running(tmp_path, 1), runner)
    (folder,) = folders(tmp_path)
    wait_for((folder / "progress.json").exists, runner)
    fake_slurm.signal_all("100", signal.SIGTERM)
    assert end_of(runner, 120) == 0
    assert calls(folder) == ["start", "resume"] and (folder / "saved").exists()
    assert status(folder).state is State.DONE


def test_a_job_that_the_user_cancels_on_slurm_is_not_queued_again(
    tables, tmp_path, monkeypatch, slurm, capfd
):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_SAVES", "1")
    runner = begin(tables, tmp_path, monkeypatch, *SLURM, "--rows", "7")
    wait_for(running(tmp_path, 1), runner)
    (folder,) = folders(tmp_path)
    wait_for((folder / "progress.json").exists, runner)
    fake_slurm.scancel("100")
    assert end_of(runner, 120) == 1
    assert calls(folder) == ["start"] and (folder / "saved").exists()
    assert status(folder).state is State.INTERRUPTED
    assert fake_slurm.state_of("100") == "CANCELLED"


def test_without_slurm_or_submitit_the_message_says_what_to_do(run, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    code, text = run(*SLURM, "--rows", "7")
    assert code == 2 and "no command srun" in text and "--executor local" in text
    monkeypatch.setitem(sys.modules, "submitit", None)
    code, text = run(*SLURM, "--rows", "7")
    assert code == 2 and "needs the package submitit" in text and "pip install" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("1:30", 1.5),
        ("02:00:30", 120.5),
        ("2-12", 2 * 1440 + 720),
        ("1-00:30", 1470),
        ("1-01:01:30", 1501.5),
    ],
)
def test_durations(text, minutes):
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "0", "1:2:3:4", "1-1:2:3:4", "-5"])
def test_no_durations(text):
    with pytest.raises(UserError, match="--time"):
        parse_minutes(text)


def test_gpus_and_cores_of_a_job():
    options = sbatch_options(ClusterOptions(gpus=2, cpus=10, parallel=4))
    assert (options["gpus_per_node"], options["cpus_per_task"]) == (2, 10)
    assert (options["nodes"], options["ntasks_per_node"], options["array_parallelism"]) == (1, 1, 4)
