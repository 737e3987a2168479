"""What tools/benchmark.py dynalign measures."""

import numpy as np
import pytest

from mmseg_uda.benchmarks import dynalign as benchmark
from mmseg_uda.methods.dynalign import assemble, class_histogram


@pytest.fixture(scope="module")
def measured():
    return benchmark.measure(beside_literal=False)


def test_time_and_memory_at_full_size(measured):
    assert measured["regions"] == 300
    assert measured["cover"] > 4
    assert measured["seconds"] < benchmark.TIME_LIMIT == 2.0
    assert measured["extra_bytes"] < benchmark.MEMORY_LIMIT == 200e6
    # One full-size bool mask per region would be 829 MB.
    assert measured["extra_bytes"] < 300 * 1440 * 1920 / 10


def test_calls_of_the_encoders(measured):
    assert measured["image_crops_per_image"] == 3600
    assert measured["image_calls_per_image"] == 29
    assert measured["published_calls_per_image"] == 3900
    assert measured["text_prompts"] == 452


def test_the_published_way_gives_the_same_result():
    size = (90, 120)
    masks, source = benchmark.synthetic_regions(40, size), benchmark.blocks(size, 19)
    ids = np.arange(40)
    base = np.full(size, 65, np.uint8)
    votes, painted = benchmark.literal(masks, source, ids, base)
    assert np.array_equal(votes, class_histogram(masks, source, 19))
    assert np.array_equal(painted, assemble(masks, ids, base))
    assert len(np.unique(painted)) > 20
