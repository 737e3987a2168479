"""Shares and parts of the images: together all of them, none twice."""

import itertools

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.methods.dynalign import fold, place, shard

NUMBERS = [0, 1, 5, 10]


@pytest.mark.parametrize(("count", "world"), itertools.product(NUMBERS, [1, 3, 4]))
def test_shares_are_disjoint_and_complete(count, world):
    items = list(range(count))
    shares = [shard(items, rank, world) for rank in range(world)]
    assert sorted(itertools.chain(*shares)) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("count", "folds"), itertools.product(NUMBERS, [1, 3, 4]))
def test_parts_are_disjoint_complete_and_contiguous(count, folds):
    items = list(range(count))
    parts = [fold(items, index, folds) for index in range(1, folds + 1)]
    assert list(itertools.chain(*parts)) == items


def test_parts_of_the_published_options():
    parts = [fold(list(range(5)), index, 4) for index in (1, 2, 3, 4)]
    assert parts == [[0, 1], [2, 3], [4], []]


@pytest.mark.parametrize(("rank", "world"), [(3, 3), (-1, 3), (0, 0)])
def test_shares_that_do_not_exist(rank, world):
    with pytest.raises(UserError, match="no share"):
        shard([1], rank, world)


@pytest.mark.parametrize(("index", "folds"), [(0, 3), (4, 3), (1, 0)])
def test_parts_that_do_not_exist(index, folds):
    with pytest.raises(UserError, match="no part"):
        fold([1], index, folds)


def test_options_come_before_what_torchrun_sets():
    environment = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert place(environment={}) == (0, 1, 0)
    assert place(environment=environment) == (2, 4, 1)
    assert place(0, 2, environment) == (0, 2, 1)
    assert place(1, 2, {}) == (1, 2, 1)  # shares started by hand take the GPUs in turn
    with pytest.raises(UserError, match="belong together"):
        place(1, None, environment)
