import pytest
import torch

from mmseg_uda.methods.csi import Region, majority_classes, paste, resolve_source

SOURCES, TARGETS = [8, 13], [9, 14]
TERRAIN_BOX = Region(0, 0, 2, 4, 6, entry=0)
TRUCK_BOX = Region(0, 3, 0, 6, 4, entry=1)
YES = torch.tensor([True, True])


@pytest.fixture
def label():
    label = torch.full((1, 6, 6), 10)
    label[0, 1:, :4] = 8
    label[0, 1:, 4:] = 13
    return label


def histogram(label):
    classes, counts = label.unique(return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def test_rect_restores_original_labels_in_the_overlap(label):
    edited = paste(label, [TERRAIN_BOX, TRUCK_BOX], YES, SOURCES, TARGETS, "rect")
    assert histogram(edited) == {8: 6, 9: 14, 10: 6, 13: 4, 14: 6}
    assert edited[0, 2:4, 3].tolist() == [8, 8]


@pytest.mark.parametrize(
    ("mode", "order"),
    [("masked", [TERRAIN_BOX, TRUCK_BOX]), ("rect", [TRUCK_BOX, TERRAIN_BOX])],
)
def test_masked_and_the_other_order_keep_every_edit(label, mode, order):
    edited = paste(label, order, YES, SOURCES, TARGETS, mode)
    assert histogram(edited) == {8: 4, 9: 16, 10: 6, 13: 4, 14: 6}


@pytest.mark.parametrize("mode", ["rect", "masked"])
def test_rejected_boxes_change_nothing_and_the_input_stays(label, mode):
    before = label.clone()
    accepted = torch.tensor([False, True])
    edited = paste(label, [TERRAIN_BOX, TRUCK_BOX], accepted, SOURCES, TARGETS, mode)
    assert histogram(edited) == {8: 20, 10: 6, 13: 4, 14: 6}
    assert torch.equal(label, before)


def test_no_box_returns_the_same_labels(label):
    assert paste(label, [], YES[:0], SOURCES, TARGETS) is label


def test_majority_needs_more_than_half_of_the_box():
    label = torch.full((1, 2, 10), 2)
    label[0, 0, :6] = 15
    label[0, 1, :5] = 15
    rows = [Region(0, 0, 0, 10, 1, entry=0), Region(0, 0, 1, 10, 2, entry=0)]
    assert majority_classes(label, rows, 19, 0.5).tolist() == [15, 19]


VEHICLES = [13, 14, 15, 16, 17, 18]


def resolve(counter, target=16, order=(), **options):
    counts = [counter.get(c, 0) for c in range(19)]
    first = [order.index(c) if c in order else 99 for c in range(19)]
    return resolve_source(counts, first, VEHICLES, target, **options)


def test_source_is_the_most_common_class_of_the_group():
    assert resolve({2: 10, 15: 3, 13: 5}) == 13


def test_ties_go_to_the_class_seen_first():
    assert resolve({13: 4, 15: 4}, order=[15, 13]) == 15
    assert resolve({13: 4, 15: 4}, order=[13, 15]) == 13


def test_the_target_itself_leaves_no_source_unless_the_runner_up_is_asked_for():
    assert resolve({16: 9, 15: 3}) is None
    assert resolve({16: 9, 15: 3}, fallback_runner_up=True) == 15


def test_nothing_counted_leaves_no_source():
    assert resolve({}) is None
    assert resolve({2: 10}) is None
    assert resolve({16: 9}, fallback_runner_up=True) is None
