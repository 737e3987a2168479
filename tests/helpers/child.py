"""Trains in a forked process, which a test may signal and kill: no import costs."""

import multiprocessing
import os
import runpy
import sys
import time

import torch

from mmseg_uda.cli import run_tool

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
