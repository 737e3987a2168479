"""Statistics beside the data that are not those of its labels."""

import os

import numpy as np
import pytest
from two_classes import LOAD, label_of

from mmseg_uda.findings import Level
from mmseg_uda.inspection import data_sets
from mmseg_uda.labels.conversion import count_classes, write_statistics

SAMPLING = dict(rare_class_sampling=dict(min_pixels=3))


@pytest.fixture
def counted(world):
    """The world with a converter's statistics."""
    paths = [world.path("src", "labels", number) for number in range(6)]
    labels = [label_of(number) for number in range(6)]
    write_statistics(
        world.root, [(p, count_classes(ids, 255)) for p, ids in zip(paths, labels, strict=True)]
    )
    return world


def test_those_of_the_labels(counted):
    assert counted.told(**SAMPLING) == []


def test_labels_that_were_drawn_again(counted):
    counted.label("src", 5, np.ones((12, 20), np.uint8))
    counted.only(
        Level.PROBLEM, "sample_class_stats.json belongs to other labels", "5.png", **SAMPLING
    )
    assert counted.told() == []  # nobody reads them


def test_of_many_labels_the_newest_are_compared(counted, monkeypatch):
    monkeypatch.setattr(data_sets, "chosen", lambda headers: [0][: len(headers)])
    counted.label("src", 3, np.ones((12, 20), np.uint8))
    statistics = counted.root / "sample_class_stats.json"
    os.utime(statistics, ns=(0, counted.path("src", "labels", 3).stat().st_mtime_ns - 1))
    counted.only(Level.PROBLEM, "belongs to other labels", "3.png", **SAMPLING)


class TestRareClasses:
    """Rare class sampling needs a frame with enough pixels of one class."""

    @pytest.mark.parametrize("limit", [dict(min_pixels=230), dict(min_share=0.95)])
    def test_no_frame(self, world, limit):
        world.only(Level.PROBLEM, "finds no frame", rare_class_sampling=limit)

    @pytest.mark.parametrize("limit", [dict(min_pixels=200), dict(min_share=0.5)])
    def test_some_frame(self, world, limit):
        assert world.told(rare_class_sampling=limit) == []

    def test_a_training_says_the_same(self, world):
        from mmseg_uda.datasets import RareClassSampling, TaxonomyDataset
        from mmseg_uda.errors import UserError

        steps = [*LOAD[:2], dict(type="CropFields", crop_size=(4, 4)), LOAD[2]]
        options = {k: v for k, v in world.data("src", pipeline=steps).items() if k != "type"}
        with pytest.raises(UserError) as error:
            RareClassSampling(TaxonomyDataset(**options), min_pixels=230)
        ((_, told),) = world.told(rare_class_sampling=dict(min_pixels=230))
        assert told == str(error.value)
