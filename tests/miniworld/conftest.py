from __future__ import annotations

import pytest

from mmseg_uda.miniworld import WorldOptions, ensure_miniworld

COUNTS = {
    "gta": {"train": 3},
    "synthia": {"train": 3},
    "cityscapes": {"train": 3, "val": 2},
    "acdc": {"train": 4, "val": 1},
}


@pytest.fixture(scope="session")
def options():
    return WorldOptions(seed=5, counts=COUNTS)


@pytest.fixture(scope="session")
def world(tmp_path_factory, options):
    root = tmp_path_factory.mktemp("miniworld")
    return ensure_miniworld(root, weights=None, options=options, workers=1)
