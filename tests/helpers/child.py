"""Trains in a forked process, which a test may signal and kill: no import costs."""

import multiprocessing
import os
import pty
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from mmseg_uda.cli import run_tool
from mmseg_uda.files import read_json

FORK = multiprocessing.get_context("fork")


def start(function, *args, **kwargs):
    """Runs ``function`` as a tool's main in a new process of its own process group."""

    def main():
        os.setpgid(0, 0)
        # A pool of threads does not survive a fork.
        torch.set_num_threads(1)
        run_tool(lambda: (function(*args, **kwargs), None)[1])

    process = FORK.Process(target=main)
    process.start()
    return process


def start_command(script, *arguments, before=lambda: None):
    """Runs a tool of the checkout as its command line does, after ``before`` in its process."""

    def main():
        before()
        sys.argv = [script, *map(str, arguments)]
        runpy.run_path(script, run_name="__main__")

    return start(main)


def run_script(script, *arguments, cwd=".", environment=None, seconds=300):
    """Runs a script as ``subprocess.run`` would; what is imported here is imported there.

    So nothing shows that the script imports all that it needs: run it in a new process as well.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("stdout", "stderr")]

        def main():
            os.chdir(cwd)
            os.environ.update(environment or {})
            sys.argv = [str(script), *map(str, arguments)]
            sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
            for number, path in enumerate(paths, 1):
                stream = open(path, "w", buffering=1)  # noqa: SIM115
                os.dup2(stream.fileno(), number)
                setattr(sys, os.path.basename(path), stream)
            runpy.run_path(str(script), run_name="__main__")

        status = end_of(start(main), seconds)
        texts = [Path(path).read_text() if os.path.exists(path) else "" for path in paths]
    return subprocess.CompletedProcess([script, *arguments], status, *texts)


class Terminal:
    """Runs ``function`` as a tool's main in a terminal of its own, which can be closed."""

    def __init__(self, function, *args, **kwargs):
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            status = 1
            try:
                torch.set_num_threads(1)
                run_tool(lambda: (function(*args, **kwargs), None)[1])
            except SystemExit as ended:
                status = ended.code
            finally:
                os._exit(status)
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while not self._closed.is_set():
            if select.select([self._screen], [], [], 0.05)[0]:
                try:
                    os.read(self._screen, 4096)
                except OSError:
                    return

    def close(self):
        """Closes the terminal; whatever is printed from now on fails."""
        self._closed.set()
        self._reader.join()
        os.close(self._screen)

    def end(self):
        """Returns the exit status (negative: the signal) of a process that is about to end."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def wait_for(condition, process=None, seconds=300):
    """Waits until the condition holds; fails when the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        assert process is None or process.is_alive(), f"ended with {process.exitcode}"
        time.sleep(0.01)


def end_of(process, seconds=300):
    """Returns the exit status (negative: the signal) of a process that is about to end."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("still running")
    return process.exitcode


def reached(work_dir, step):
    """Tells whether a training has come to a step; with ``job_files.interval=1``."""
    return lambda: ((read_json(work_dir / "progress.json") or {}).get("iter") or 0) >= step


def free_port():
    """Where processes that start now may meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
