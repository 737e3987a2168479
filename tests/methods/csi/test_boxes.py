import math

import numpy as np
import pytest
import torch

from mmseg_uda.methods.csi import best_prompt, count_pixels, round_boxes, select_boxes
from mmseg_uda.methods.csi.boxes import to_pixels

TERRAIN, TRUCK, TRAIN = 0, 1, 2
THRESHOLDS = [0.01, 0.1, 0.1]


def select(scores, boxes, entries, **options):
    return select_boxes(
        np.array(scores, np.float32),
        np.array(boxes, np.float32),
        np.array(entries),
        THRESHOLDS,
        **options,
    )


FOUR = (
    [0.30, 0.28, 0.20, 0.02],
    [[0, 0, 20, 20], [2, 0, 22, 20], [10, 0, 30, 20], [40, 40, 60, 60]],
    [TRUCK, TERRAIN, TRAIN, TERRAIN],
)


def test_suppression_across_classes_keeps_the_strongest_and_orders_ascending():
    assert select(*FOUR, nms="agnostic", nms_iou=0.3).tolist() == [3, 0]


def test_suppression_within_classes_keeps_all_four():
    assert select(*FOUR, nms="class", nms_iou=0.3).tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("pair", "iou"), [((0, 1), 0.8182), ((0, 2), 0.3333), ((1, 2), 0.4286), ((0, 3), 0.0)]
)
def test_a_box_is_dropped_when_the_overlap_exceeds_the_limit(pair, iou):
    scores, boxes, entries = ([values[i] for i in pair] for values in FOUR)
    assert select(scores, boxes, entries, nms_iou=iou + 1e-4).tolist() == [1, 0]
    if iou > 0:
        assert select(scores, boxes, entries, nms_iou=iou - 1e-4).tolist() == [0]


def test_thresholds_apply_before_suppression():
    box = [[0, 0, 20, 20]] * 2
    assert select([0.05, 0.03], box, [TRUCK, TERRAIN]).tolist() == [1]


def test_a_score_equal_to_the_threshold_is_dropped():
    box = [[0, 0, 20, 20], [30, 30, 50, 50]]
    assert select(
        [0.1, np.nextafter(np.float32(0.1), np.float32(1))], box, [TRUCK] * 2
    ).tolist() == [1]


def test_no_box_passes():
    assert select([0.05], [[0, 0, 9, 9]], [TRUCK]).tolist() == []
    assert select(np.zeros(0), np.zeros((0, 4)), np.zeros(0, int)).tolist() == []


@pytest.mark.parametrize(("threshold", "logit"), [(0.01, -4.5951), (0.1, -2.1972)])
def test_scores_are_the_sigmoid_of_the_best_prompt(threshold, logit):
    logits = torch.tensor([[[logit, -9.0], [-9.0, logit + 0.01]]])
    score, prompt = best_prompt(logits)
    assert prompt.tolist() == [[0, 1]]
    assert math.isclose(score[0, 0].item(), threshold, rel_tol=1e-4)
    assert (score > threshold).tolist()[0][1]


def test_rounding_is_half_to_even_and_clipped():
    boxes = torch.tensor([[-3.4, 2.5, 100.6, 50.5], [1.5, 2.5, 13.5, 14.5]])
    assert round_boxes(boxes, 48, 64).tolist() == [[0, 2, 64, 48], [2, 2, 14, 14]]


def test_relative_boxes_scale_with_the_crop():
    boxes = to_pixels(torch.tensor([0.5, 0.25, 0.5, 0.5]), height=40, width=80)
    assert boxes.tolist() == [20.0, 0.0, 60.0, 20.0]


def test_pixels_of_the_boxes_own_class_are_counted():
    label = torch.tensor([[[8, 8, 13], [8, 13, 13]], [[13, 8, 8], [8, 8, 8]]])
    boxes = torch.tensor([[[0, 0, 3, 2], [1, 0, 3, 2]], [[0, 0, 1, 1], [2, 1, 2, 1]]])
    channel = torch.tensor([[0, 1], [1, 0]])
    counts = count_pixels(label, boxes, channel, [8, 13])
    assert counts.tolist() == [[3, 3], [1, 0]]


def test_counts_equal_slicing_on_random_boxes():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (2, 17, 23), generator=generator)
    low = torch.rand(2, 30, 2, generator=generator) * torch.tensor([20, 14])
    high = low + torch.rand(2, 30, 2, generator=generator) * 9
    boxes = round_boxes(torch.cat([low, high], -1), 17, 23)
    channel = torch.randint(0, 3, (2, 30), generator=generator)
    counts = count_pixels(label, boxes, channel, [3, 0, 2])
    for b in range(2):
        for (x0, y0, x1, y1), c, n in zip(boxes[b], channel[b], counts[b], strict=True):
            assert n == (label[b, y0:y1, x0:x1] == [3, 0, 2][c]).sum()
