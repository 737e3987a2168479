from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.evaluator import Evaluator
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.evaluation import StreamingIoU, iou_scores, streaming_iou
from mmseg_uda.taxonomy import load_taxonomy

# SYNTHIA -> Cityscapes, DAFormer: the network never predicts terrain, truck and train.
DAFORMER = [84.5, 40.7, 88.4, 41.5, 6.5, 50.0, 55.0, 54.6, 86.0, 0, 89.8, 73.2, 48.2, 87.2, 0]
DAFORMER += [53.2, 0, 53.9, 61.7]
TERRAIN, TRUCK = 9, 14


def sample(prediction, label=None, path="images/a.png"):
    data = {"pred_sem_seg": {"data": torch.as_tensor(prediction)[None]}, "img_path": path}
    if label is not None:
        data["gt_sem_seg"] = {"data": torch.as_tensor(label, dtype=torch.uint8)[None]}
    return data


def scores(samples, **options):
    metric = StreamingIoU(**options)
    for one in samples:
        metric.process(None, [one])
    return metric.evaluate(len(samples))


def two_classes(tmp_path):
    path = tmp_path / "two.yaml"
    classes = [
        {"name": name, "color": [9, 9, i], "group": "g", "prompts": [name]}
        for i, name in enumerate("ab")
    ]
    path.write_text(yaml.safe_dump({"classes": classes, "raw_ids": {"x": {7: 0, 50: 1}}}))
    return str(path)


def test_the_table_shows_names_as_they_are(tmp_path, monkeypatch):
    content = yaml.safe_load(Path(two_classes(tmp_path)).read_text())
    content["classes"][0]["name"], content["classes"][1]["name"] = "[/b]", "[red] :car:"
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(content))
    logged = []
    monkeypatch.setattr(streaming_iou, "print_log", lambda text, *_: logged.append(text))
    scores([sample([[0, 1]], [[0, 1]])], taxonomy=str(tmp_path / "two.yaml"))
    assert " [/b] " in logged[0] and " [red] :car: " in logged[0]


def random_samples(images=5):
    rng = np.random.default_rng(0)
    samples = []
    for i in range(images):
        label = rng.integers(0, 18, (20, 30))  # the last class is never labelled
        guess = rng.integers(0, 19, label.shape)
        prediction = np.where(rng.random(label.shape) < 0.7, label, guess)
        label[rng.random(label.shape) < 0.1] = 255
        samples.append(sample(prediction, label, f"images/{i}.png"))
    return samples


def maps_with(iou):
    """Returns prediction and label, (19, 1000) each, with these IoUs in percent.

    Every class has 1000 pixels; what is missed is predicted as a class of IoU 0, whose union alone
    grows.
    """
    label = np.repeat(np.arange(19)[:, None], 1000, 1)
    prediction = label.copy()
    for c, percent in enumerate(iou):
        prediction[c, round(percent * 10) :] = TRUCK if c == TERRAIN else TERRAIN
    return prediction, label


def test_small_case_by_hand(tmp_path):
    result = scores([sample([[0, 0, 1, 1]], [[0, 1, 1, 255]])], taxonomy=two_classes(tmp_path))
    assert result == {"aAcc": 66.67, "mIoU": 50.0, "mAcc": 75.0, "IoU.a": 50.0, "IoU.b": 50.0}


def test_scores_of_a_confusion_matrix():
    iou, accuracy = iou_scores(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]))
    np.testing.assert_allclose(iou, [3 / 6, 4 / 7, np.nan])
    np.testing.assert_allclose(accuracy, [3 / 4, 4 / 6, np.nan])


def test_equal_to_mmsegmentation_on_random_maps():
    samples = random_samples()
    stock = IoUMetric()
    stock.dataset_meta = {"classes": load_taxonomy("cityscapes19").classes}
    stock.process(None, samples)
    expected = stock.evaluate(len(samples))
    result = scores(samples)
    for name in ("aAcc", "mIoU", "mAcc"):
        assert result[name] == pytest.approx(expected[name], abs=0.011)


def test_class_that_never_occurs_is_left_out(tmp_path):
    result = scores([sample([[0, 0]], [[0, 0]])], taxonomy=two_classes(tmp_path))
    assert result["mIoU"] == 100.0
    assert np.isnan(result["IoU.b"])


def test_synthia_means_over_19_16_and_13_classes():
    result = scores([sample(*maps_with(DAFORMER))])
    assert [result[f"IoU.{name}"] for name in load_taxonomy("cityscapes19").classes] == DAFORMER
    assert result["mIoU"] == pytest.approx(51.28, abs=0.011)
    assert result["mIoU_16"] == pytest.approx(60.90, abs=0.011)
    assert result["mIoU_13"] == pytest.approx(67.42, abs=0.011)
    assert result["mIoU_new"] == 0


def test_three_classes_at_0_lower_the_mean():
    result = scores([sample(*maps_with([0 if c in (9, 14, 16) else 60.9 for c in range(19)]))])
    assert result["mIoU_16"] == 60.9
    assert result["mIoU"] == 51.28


def test_own_subsets_by_name():
    result = scores([sample(*maps_with(DAFORMER))], subsets={"traffic": ["road", 13]})
    assert result["mIoU_traffic"] == 85.85
    assert "mIoU_16" not in result


def test_batches_do_not_matter_and_a_second_evaluation_starts_anew():
    samples = random_samples()
    metric = StreamingIoU()
    metric.process(None, samples)
    together = metric.evaluate(5)
    assert together == scores(samples)
    metric.process(None, samples)
    assert metric.evaluate(5) == together


def test_no_prediction_is_kept():
    metric = StreamingIoU()
    metric.process(None, random_samples())
    assert metric.results == []
    assert metric.confusion.shape == (20, 20)


def test_as_part_of_an_evaluator():
    evaluator = Evaluator(METRICS.build({"type": "StreamingIoU", "prefix": "val"}))
    samples = random_samples()
    evaluator.process(samples)
    assert evaluator.evaluate(5)["val/mIoU"] == scores(samples)["mIoU"]


def test_predictions_are_written_as_train_ids_with_palette(tmp_path):
    prediction = np.array([[0, 13], [18, 9]])
    options = {"format_only": True, "output_dir": str(tmp_path / "out")}
    assert scores([sample(prediction, path="x/a_rgb_anon.png")], **options) == {}
    image = Image.open(tmp_path / "out/a_rgb_anon.png")
    assert np.asarray(image).tolist() == prediction.tolist()
    assert np.asarray(image.convert("RGB"))[0, 1].tolist() == [0, 0, 142]


def test_predictions_in_raw_ids(tmp_path):
    options = {"format_only": True, "output_dir": str(tmp_path), "output_ids": "cityscapes"}
    scores([sample([[0, 13, 18]])], **options)
    image = Image.open(tmp_path / "a.png")
    assert np.asarray(image).tolist() == [[7, 26, 33]]
    assert np.asarray(image.convert("RGB"))[0, 1].tolist() == [0, 0, 142]


def test_format_only_needs_a_folder():
    with pytest.raises(UserError, match=r"(?s)no output_dir.*--out"):
        StreamingIoU(format_only=True)


def test_unlabelled_images_are_named():
    with pytest.raises(UserError, match=r"images/a\.png has no label"):
        StreamingIoU().process(None, [sample([[0]])])


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [([[0]], [[2]], "labels hold ids outside"), ([[2]], [[0]], "network predicts classes outside")],
)
def test_ids_outside_the_taxonomy(tmp_path, prediction, label, message):
    with pytest.raises(UserError, match=message):
        scores([sample(prediction, label)], taxonomy=two_classes(tmp_path))


def test_ignored_pixels_may_be_predicted_as_anything(tmp_path):
    result = scores([sample([[7, 0]], [[255, 0]])], taxonomy=two_classes(tmp_path))
    assert result["aAcc"] == 100.0


def test_no_labelled_pixel_is_an_error():
    with pytest.raises(UserError, match="No pixel was evaluated"):
        scores([sample([[0]], [[255]])])


def test_images_that_count_twice_are_reported(monkeypatch):
    lines = []
    monkeypatch.setattr(streaming_iou, "print_log", lambda text, *_, **__: lines.append(text))
    metric = StreamingIoU()
    metric.process(None, random_samples())
    metric.evaluate(size=4)
    assert "5 images were evaluated, the data set has 4" in lines[0]
