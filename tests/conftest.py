"""Settings of every test."""

import pytest
from mmengine.registry import DefaultScope, init_default_scope


@pytest.fixture(autouse=True, scope="session")
def _default_scope():
    """Nested configs are looked up in mmseg's registries, as configs ask for."""
    if DefaultScope.get_current_instance() is None:
        init_default_scope("mmseg")


@pytest.fixture
def simulated_gpu():
    """A GPU without values, entered: what is moved to ``cuda`` lies on it, waits are counted."""
    from mmseg_uda.benchmarks.simulated_gpu import SimulatedGpu

    with SimulatedGpu() as gpu:
        yield gpu
