"""Suppression keeps what a plain greedy loop keeps, ties included."""

import numpy as np
import pytest

from mmseg_uda.foundation.boxes import suppress


def iou(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inter = np.maximum(high - low, 0).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - inter
    return inter / np.maximum(union, 1e-12)


def greedy(boxes, scores, overlap):
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        order = order[iou(boxes[first], boxes[order]) <= overlap]
    return kept


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7])
def test_equal_scores_and_overlaps_at_the_limit(dtype, overlap):
    rng = np.random.default_rng(0)
    at_the_limit = 0
    for _ in range(100):
        corner = rng.integers(0, 3, (30, 2))
        boxes = np.concatenate([corner, corner + rng.integers(0, 11, (30, 2))], 1).astype(dtype)
        scores = rng.integers(0, 6, 30).astype(np.float32) / 10
        assert suppress(boxes, scores, overlap).tolist() == greedy(boxes, scores, overlap)
        at_the_limit += sum((iou(box, boxes) == dtype(overlap)).sum() for box in boxes)
    assert at_the_limit > 20


def test_an_overlap_equal_to_the_limit_is_kept():
    boxes = np.array([[0, 0, 10, 1], [0, 0, 3, 1]], np.float32)  # 3 / 10
    assert suppress(boxes, np.array([0.1, 0.1], np.float32), 0.3).tolist() == [0, 1]
    assert suppress(boxes, np.array([0.1, 0.2], np.float32), 0.29).tolist() == [1]


def test_no_box():
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []
