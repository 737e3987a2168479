"""Known, new and evaluated classes; folders of label maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.evaluation import AlignmentIoU, ClassSets, evaluate_folder
from mmseg_uda.taxonomy import load_taxonomy_map

# Check 23: id 2 is ignored
LABEL, PREDICTION = [0, 0, 1, 2, 1, 255], [0, 2, 1, 0, 2, 0]


@pytest.fixture
def three():
    return ClassSets(("a", "b", "c"), evaluated=(0, 1), known=(0,))


def write(folder, name, values):
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([values], np.uint8)).save(path)


def matrix(classes, *pairs):
    counts = np.zeros((classes, classes + 1), np.int64)
    for label, prediction in pairs:
        for row, column in zip(label, prediction, strict=True):
            if row != 255:
                counts[row, min(column, classes)] += 1
    return counts


def test_numbers_of_the_check(three):
    scores = three.scores(matrix(3, (LABEL, PREDICTION)))
    assert [scores[f"IoU.{name}"] for name in "abc"] == [50, 50, 0]
    assert scores["mIoU_upstream"] == 33.33
    assert scores["mIoU_eval"] == scores["mIoU"] == 50
    assert scores["aAcc"] == 50
    assert (scores["mIoU_known"], scores["mIoU_new"]) == (50, 50)


def test_a_class_without_labels_is_left_out(three):
    scores = three.scores(matrix(3, ([0, 0], [0, 1])))
    assert scores["mIoU_eval"] == 50
    assert scores["mIoU_upstream"] == 25  # b is predicted: its 0 counts there
    assert np.isnan(scores["mIoU_new"])
    assert np.isnan(scores["IoU.c"])


def test_a_pixel_predicted_as_no_class_is_missed(three):
    scores = three.scores(matrix(3, ([0, 0, 1], [0, 255, 1])))
    assert (scores["IoU.a"], scores["IoU.b"]) == (50, 100)


def test_without_an_evaluated_label(three):
    with pytest.raises(UserError, match="No pixel was evaluated"):
        three.scores(matrix(3, ([2, 2], [0, 1])))


def test_sets_of_a_map_and_custom_ones():
    vistas = load_taxonomy_map("mapillary_v5")
    assert len(ClassSets.create(vistas).evaluated) == 46
    assert len(ClassSets.create(vistas, []).evaluated) == 66
    chosen = ClassSets.create(vistas, ["Road", 24], ["Road"])
    assert (chosen.evaluated, chosen.known) == ((13, 24), (13,))
    with pytest.raises(UserError, match="no class 'Lane'"):
        ClassSets.create(vistas, ["Lane"])


def test_sets_of_classes_by_name():
    vistas = load_taxonomy_map("mapillary_v5")
    evaluated = ClassSets.create(vistas).evaluated
    assert ClassSets.create(vistas, "evaluated").evaluated == evaluated
    assert ClassSets.create(vistas, ["known", "new"]).evaluated == evaluated
    assert ClassSets.create(vistas, ["known", "Curb", 65]).evaluated == tuple(
        sorted([*vistas.known_ids, 2, 65])
    )
    assert ClassSets.create(vistas, known="known").known == vistas.known_ids
    with pytest.raises(UserError, match="most"):
        ClassSets.create(vistas, "most")


def test_folders_streaming_equals_concatenation(tmp_path, three):
    first, second = (LABEL, PREDICTION), ([1, 1, 0, 255, 0, 0], [1, 0, 0, 0, 255, 2])
    for name, (label, prediction) in {"x/one": first, "two": second}.items():
        write(tmp_path / "labels", name, prediction)
        write(tmp_path / "gt", name, label)
    found = evaluate_folder(tmp_path / "labels", tmp_path / "gt", three)
    assert found.images == 2
    assert (found.confusion == matrix(3, first, second)).all()
    expected = three.scores(matrix(3, first, second))
    assert found.scores == pytest.approx(expected, nan_ok=True)
    json.dumps(found.as_json(), allow_nan=False)


def test_labels_of_vistas_and_idd_are_found(tmp_path, three):
    for name in ("jpg", "119/f_leftImg8bit", "four"):
        write(tmp_path / "labels", name, [0])
    write(tmp_path / "gt", "jpg", [0])
    write(tmp_path / "gt", "119/f_gtFine_labellevel3Ids", [0])
    write(tmp_path / "gt", "fourg", [0])
    write(tmp_path / "labels", "none", [0])
    found = evaluate_folder(tmp_path / "labels", tmp_path / "gt", three)
    assert (found.images, found.without_label) == (3, ("none",))


def test_label_files_of_other_ids(tmp_path, three):
    write(tmp_path / "labels", "a", [0, 1])
    write(tmp_path / "gt", "a", [7, 11])
    lookup = [255] * 256
    lookup[7], lookup[11] = 0, 1
    assert (
        evaluate_folder(tmp_path / "labels", tmp_path / "gt", three, lookup=lookup).scores["aAcc"]
        == 100
    )


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0, 1], [0, 1, 0], "differ in size: 1x2 and 1x3"),
        ([0, 1], [0, 9], r"gt/a.png holds id 9, which is none of the 3 classes"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, three, prediction, label, message):
    write(tmp_path / "labels", "a", prediction)
    write(tmp_path / "gt", "a", label)
    with pytest.raises(UserError, match=message):
        evaluate_folder(tmp_path / "labels", tmp_path / "gt", three)


def test_folders_without_files(tmp_path, three):
    (tmp_path / "gt").mkdir()
    with pytest.raises(UserError, match="holds no label maps"):
        evaluate_folder(tmp_path, tmp_path / "gt", three)
    write(tmp_path / "labels", "a", [0])
    with pytest.raises(UserError, match="None of the 1 predictions"):
        evaluate_folder(tmp_path / "labels", tmp_path / "gt", three)


def test_metric_of_networks():
    metric = AlignmentIoU("idd_v5")
    label = torch.tensor([[0, 8, 13, 255]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 8, 2, 2]])
    sample = {"pred_sem_seg": {"data": prediction[None]}, "img_path": "a.png"}
    metric.process(None, [{**sample, "gt_sem_seg": {"data": label[None]}}])
    scores = metric.evaluate(1)
    assert scores["mIoU"] == scores["mIoU_eval"] == 66.67
    assert (scores["mIoU_known"], scores["mIoU_new"]) == (100, 50)
    assert scores["mIoU_upstream"] == 50
    assert scores["IoU.autorickshaw"] == 100
    assert not any(name.startswith("Acc.") for name in scores)


def test_table_shows_names_as_they_are():
    """rich takes square brackets and colons for more than text; [/b] ended the evaluation."""
    names = ("[/b]", "[red]car", ":car: [x]")
    sets = ClassSets(names, evaluated=(0, 1), known=(0,))
    text = sets.table(sets.scores(matrix(3, (LABEL, PREDICTION))))
    assert all(f" {name} " in text for name in names)


def test_table_names_the_sets(three):
    text = three.table(three.scores(matrix(3, (LABEL, PREDICTION))))
    assert "not evaluated" in text
    assert "33.33" in text
