"""Settings of every test."""

import ast
import logging
import os

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.visualization import Visualizer
from yapf.yapflib import yapf_api

LAY_OUT = yapf_api.FormatCode


def pytest_configure():
    """One thread, as forked trainings have: sums in another order are other numbers."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _default_scope():
    """Nested configs are looked up in mmseg's registries, as configs ask for."""
    if DefaultScope.get_current_instance() is None:
        init_default_scope("mmseg")


@pytest.fixture(autouse=True)
def _runs_of_its_own():
    """mmengine finds what a run draws and counts with by the second in which the run began."""
    yield
    kinds = [Visualizer, MessageHub]
    for kind in kinds:
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


@pytest.fixture(autouse=True)
def _open_logs():
    """The file of a run that has ended is closed, and mmengine would still write to it."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler) and handler.stream is None:
                logger.removeHandler(handler)


@pytest.fixture(autouse=True, scope="session")
def _plain_configs():
    """Texts of configs are checked and not laid out.

    mmengine has yapf lay them out when a config is written, and with every log and checkpoint of a
    run: as much work as the short trainings of the tests. See ``laid_out`` for the real thing.
    """

    def plain(text, *_, **__):
        ast.parse(text)
        return text, False

    patch = pytest.MonkeyPatch()
    patch.setattr(yapf_api, "FormatCode", plain)
    yield
    patch.undo()


@pytest.fixture
def laid_out(monkeypatch):
    """Texts of configs as users get them."""
    monkeypatch.setattr(yapf_api, "FormatCode", LAY_OUT)


@pytest.fixture
def simulated_gpu():
    """A GPU without values, entered: what is moved to ``cuda`` lies on it, waits are counted."""
    from mmseg_uda.benchmarks.simulated_gpu import SimulatedGpu

    with SimulatedGpu() as gpu:
        yield gpu
