"""What CSI shows of a step."""

from dataclasses import replace

import torch

TRUCK, CAR = 14, 13
BOXES = [(0, 2, 2, 30, 30, "truck", 0.4), (1, 0, 0, 20, 20, "truck", 0.3)]
MAP = [{"target": "truck", "source": "car"}]


def shown(component, begin, target, pseudo, step, draws=True):
    at = begin(component, step)
    at.ctx = replace(at.ctx, draws=draws)
    at.refine(target, pseudo)
    return at.ctx.panels


def test_boxes_with_score_and_the_relabelled_pixels(make, begin, target, cars, record):
    component = make(BOXES, mapping=MAP)
    boxes, pixels = shown(component, begin, target, record(cars), 30)
    assert boxes.boxes.corners.tolist() == [[0, 2, 2, 30, 30], [1, 0, 0, 20, 20]]
    assert boxes.boxes.classes.tolist() == [TRUCK, TRUCK]
    assert torch.allclose(boxes.boxes.scores, torch.tensor([0.4, 0.3]))
    assert boxes.boxes.accepted.tolist() == [True, True]
    assert (pixels.label == TRUCK).sum() == 28 * 18 + 20 * 20
    assert (pixels.label == 255).sum() == cars.numel() - 28 * 18 - 20 * 20


def test_rejected_boxes_are_shown_as_such(make, begin, target, cars, record):
    component = make(BOXES, phrase="bus", mapping=MAP)
    boxes, pixels = shown(component, begin, target, record(cars), 30)
    assert boxes.boxes.accepted.tolist() == [False, False]
    assert (pixels.label == 255).all()


def test_nothing_is_kept_in_other_steps(make, begin, target, cars, record):
    component = make(BOXES, mapping=MAP)
    assert not shown(component, begin, target, record(cars), 30, draws=False)
    assert len(shown(component, begin, target, record(cars), 30)) == 2


def test_a_second_teachers_labels_are_not_shown_again(make, begin, target, cars, record):
    component = make(BOXES, mapping=MAP)
    assert not shown(component, begin, target, record(cars, primary=False), 30)
