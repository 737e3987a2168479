"""Several targets in one evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from process_tasks import evaluate_targets
from processes import together

from mmseg_uda.errors import UserError
from mmseg_uda.evaluation import MultiTargetIoU, StreamingIoU


def sample(target, prediction, label, path="images/a.png"):
    return {
        "pred_sem_seg": {"data": torch.as_tensor(prediction)[None]},
        "gt_sem_seg": {"data": torch.as_tensor(label, dtype=torch.uint8)[None]},
        "img_path": path,
        "target": target,
    }


def metric_of(sizes, **options):
    metric = MultiTargetIoU(**options)
    metric.dataset_meta = {"targets": sizes}
    return metric


def test_targets_count_alike_whatever_their_size():
    """Target a: all right. Target b, nine times as many images: all wrong."""
    metric = metric_of({"a": 1, "b": 9})
    metric.process(None, [sample("a", [[0, 1]], [[0, 1]])])
    metric.process(None, [sample("b", [[1, 0]], [[0, 1]]) for _ in range(9)])
    scores = metric.evaluate(10)
    assert scores["a/mIoU"] == 100
    assert scores["b/mIoU"] == 0
    assert scores["mIoU"] == 50
    assert scores["aAcc"] == 50
    assert scores["IoU.road"] == 50


def test_a_class_that_is_only_predicted_counts_as_0_and_one_that_is_nowhere_not_at_all():
    metric = metric_of({"a": 1, "b": 1})
    metric.process(None, [sample("a", [[0, 0, 5]], [[0, 0, 0]])])  # pole is predicted only
    metric.process(None, [sample("b", [[0, 2]], [[0, 2]])])
    scores = metric.evaluate(2)
    assert scores["a/mIoU"] == pytest.approx((200 / 3 + 0) / 2, abs=0.01)
    assert scores["a/IoU.pole"] == 0
    assert np.isnan(scores["b/IoU.pole"])
    assert scores["IoU.pole"] == 0  # the mean over targets in which the class occurs
    assert np.isnan(scores["IoU.train"])
    assert scores["mIoU"] == pytest.approx((33.33 + 100) / 2, abs=0.01)


def test_each_target_has_the_scores_of_an_evaluation_of_its_own():
    rng = np.random.default_rng(0)
    pairs = [
        (target, rng.integers(0, 19, (8, 9)), rng.integers(0, 19, (8, 9))) for target in "aababb"
    ]
    metric = metric_of({"a": 3, "b": 3})
    for target, prediction, label in pairs:
        metric.process(None, [sample(target, prediction, label)])
    scores = metric.evaluate(6)
    for name in "ab":
        alone = StreamingIoU()
        alone.process(None, [sample(*pair) for pair in pairs if pair[0] == name])
        for key, value in alone.evaluate(3).items():
            assert scores[f"{name}/{key}"] == value
    # evaluated once, it starts anew
    metric.process(None, [sample("a", [[0]], [[0]]), sample("b", [[0]], [[0]])])
    assert metric.evaluate(2)["mIoU"] == 100


def test_predictions_are_kept_apart_by_target(tmp_path):
    metric = metric_of({"a": 1, "b": 1}, output_dir=str(tmp_path), format_only=True)
    for target in "ab":
        metric.process(None, [sample(target, np.full((2, 2), 3), np.zeros((2, 2)))])
    assert metric.evaluate(2) == {}
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")) == [
        "a/a.png",
        "b/a.png",
    ]


def test_the_table_has_a_column_per_target(monkeypatch):
    from mmseg_uda.evaluation import multi_target_iou

    logged = []
    monkeypatch.setattr(multi_target_iou, "print_log", lambda text, *_: logged.append(text))
    metric = metric_of({"[/night]": 1, "bdd100k": 1})
    metric.process(None, [sample("[/night]", [[0]], [[0]]), sample("bdd100k", [[1]], [[0]])])
    metric.evaluate(2)
    (table,) = logged
    assert " [/night] " in table
    row = next(line for line in table.splitlines() if " mIoU " in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("mIoU", "100.00", "0.00", "50.00")
    ]


def test_a_single_data_set_is_refused():
    metric = MultiTargetIoU()
    metric.dataset_meta = {"classes": ()}
    with pytest.raises(UserError, match=r"(?s)is none.*StreamingIoU"):
        metric.evaluate(1)


def test_two_processes_see_every_image_once():
    """Check 18: 3 + 3 + 1 images; the second process gets none of the last target."""
    (expected,) = together(evaluate_targets, world=1)
    assert expected["a/mIoU"] != expected["b/mIoU"]
    both = together(evaluate_targets)
    for scores in both:
        for name, value in expected.items():
            np.testing.assert_equal(scores[name], value, name)
