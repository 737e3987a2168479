import pytest
from two_classes import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)
