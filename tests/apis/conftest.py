"""Nano segmentors with checkpoints of a training, and a few images."""

from functools import partial

import pytest
from trained_nano import save_trained, trained_config, write_frames


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Root of a Cityscapes with three validation frames of 80 x 40."""
    return write_frames(tmp_path_factory.mktemp("cityscapes"))


@pytest.fixture(scope="session")
def config_of(images):
    """The config of a training, by the kind of network."""
    return partial(trained_config, frames=images)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, config_of):
    """Config file and checkpoint (student and teacher) of a kind of network."""
    folder = tmp_path_factory.mktemp("trained")

    def make(kind):
        cfg, config, checkpoint = config_of(kind), folder / f"{kind}.py", folder / f"{kind}.pth"
        if not checkpoint.is_file():
            cfg.dump(config)
            save_trained(cfg, checkpoint)
        return config, checkpoint

    return make


@pytest.fixture(params=["daformer", "hrda"])
def kind(request):
    """Which network."""
    return request.param
