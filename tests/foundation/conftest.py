"""Tiny, randomly initialised models of the real libraries, saved as local checkpoint folders."""

import pytest
import torch
from tiny_clip import write_clip, write_open_clip, write_owl


@pytest.fixture(scope="session", params=["owlvit", "owlv2"])
def owl_folder(request, tmp_path_factory):
    return write_owl(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def open_clip_folder(tmp_path_factory):
    return write_open_clip(tmp_path_factory.mktemp("open_clip"))


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, 3, 48, 48, generator=generator)
