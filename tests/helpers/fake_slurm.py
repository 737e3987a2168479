"""A Slurm of one node, as far as submitit and we use it; called under Slurm's command names.

``FAKE_SLURM`` is the folder of its state: one file per job (``12``, ``12_0``) that holds the state,
and the submitted scripts.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "srun", "sacct", "squeue", "scancel", "scontrol")


def install(folder, monkeypatch):
    """Puts the commands into PATH; returns the folder of the state."""
    (folder / "bin").mkdir(parents=True)
    for name in COMMANDS:
        path = folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        path.chmod(0o755)
    (folder / "state").mkdir()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder / "state"))
    return folder / "state"


def state_of(job):
    path = root() / job
    return path.read_text() if path.exists() else ""


def set_state(job, state):
    (root() / job).write_text(state)


def root():
    return Path(os.environ["FAKE_SLURM"])


def sbatch(script):
    number = str(100 + len(list(root().glob("*.sh"))))
    text = Path(script).read_text()
    (root() / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-(\d+)%(\d+)", text)
    jobs = [f"{number}_{k}" for k in range(int(array[1]) + 1)] if array else [number]
    for job in jobs:
        set_state(job, "PENDING")
    line = [sys.executable, __file__, "node", number, array[2] if array else "1", *jobs]
    # With nothing of sbatch's own output, which its caller reads to the end.
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.Popen(line, start_new_session=True, **quiet)
    print(f"Submitted batch job {number}")


def node(number, parallel, *jobs):
    """Runs the jobs of one submission, as many at a time as allowed, until none is left."""
    waiting, running = list(jobs), {}
    while waiting or running:
        while waiting and len(running) < int(parallel):
            job = waiting.pop(0)
            if state_of(job) == "CANCELLED":
                continue
            running[job] = start(number, job)
            set_state(job, "RUNNING")
        for job, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[job]
            if state_of(job) == "REQUEUED":
                waiting.append(job)
            elif state_of(job) == "RUNNING":
                set_state(job, "FAILED" if process.returncode else "COMPLETED")
        time.sleep(0.05)


def start(number, job):
    environment = {**os.environ, "SLURM_JOB_ID": job.replace("_", "000")}
    environment |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    if "_" in job:
        main, index = job.split("_")
        environment |= {"SLURM_ARRAY_JOB_ID": main, "SLURM_ARRAY_TASK_ID": index}
    process = subprocess.Popen(["bash", root() / f"{number}.sh"], env=environment)
    (root() / f"{job}.pid").write_text(str(process.pid))
    return process


def srun(*arguments):
    arguments = list(arguments)
    output = None
    while arguments[0].startswith("--"):
        if arguments.pop(0) == "--output":
            output = arguments.pop(0)
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    for mark, value in (("%A", array), ("%a", index), ("%j", os.environ["SLURM_JOB_ID"])):
        output = output.replace(mark, value or "")
    log = os.open(output.replace("%t", "0"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.execvp(arguments[0], arguments)


def sacct(*arguments):
    print("JobID|State|NodeList")
    for number in (b for a, b in zip(arguments, arguments[1:], strict=False) if a == "-j"):
        for path in sorted(root().glob(f"{number}*")):
            if not path.suffix:
                print(f"{path.name}|{path.read_text()}|node1")


def squeue(*arguments):
    state = state_of(arguments[-1])
    if state in ("PENDING", "RUNNING", "REQUEUED"):
        print(state)


def scancel(job):
    set_state(job, "CANCELLED")
    signal_all(job, signal.SIGTERM)


def signal_all(job, number):
    """Slurm signals every process of a job."""
    from mmseg_uda.experiments.processes import family

    path = root() / f"{job}.pid"
    for pid in family(int(path.read_text()))[1:] if path.exists() else []:
        os.kill(pid, number)


def scontrol(*arguments):
    job = arguments[-1].replace("000", "_") if "000" in arguments[-1] else arguments[-1]
    if arguments[0] == "requeue":
        set_state(job, "REQUEUED")
    else:
        print(f"JobId={arguments[-1]} JobName=mmseg_uda JobState={state_of(job)} Reason=None")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
