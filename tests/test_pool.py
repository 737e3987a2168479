"""Work on many files in several processes."""

import os
import signal
import time
from pathlib import Path

import pytest

from mmseg_uda.errors import MACHINE_STATUS, MachineError, UserError
from mmseg_uda.pool import map_in_processes


def work(item):
    name, value = item
    if name == "wrong":
        raise UserError(f"{value} is wrong", fix="Mend it.")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "slow":
        Path(value).touch()
        time.sleep(0.05)
    return value


def test_results_come_in_order():
    items = [("plain", number) for number in range(100)]
    assert list(map_in_processes(work, items, 3, chunk=7)) == list(range(100))


def test_a_killed_process_is_told():
    """And not waited for."""
    items = [("killed", 0), *[("plain", number) for number in range(100)]]
    with pytest.raises(MachineError, match="killed: most likely the memory.*\n.*--nproc") as caught:
        list(map_in_processes(work, items, 2, chunk=1))
    assert caught.value.status == MACHINE_STATUS


def test_an_error_of_an_item_arrives_whole():
    with pytest.raises(UserError) as caught:
        list(map_in_processes(work, [("wrong", "a.png")], 1))
    assert str(caught.value) == "a.png is wrong\n  Fix: Mend it."


def test_who_stops_asking_does_not_wait_for_the_rest(tmp_path):
    items = [("slow", str(tmp_path / str(number))) for number in range(200)]
    results = map_in_processes(work, items, 2, chunk=1)
    assert next(results) == items[0][1]
    results.close()
    assert len(list(tmp_path.iterdir())) < 100
