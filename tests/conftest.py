"""Settings of every test."""

import pytest
from mmengine.registry import DefaultScope, init_default_scope


@pytest.fixture(autouse=True, scope="session")
def _default_scope():
    """Nested configs are looked up in mmseg's registries, as configs ask for."""
    if DefaultScope.get_current_instance() is None:
        init_default_scope("mmseg")
