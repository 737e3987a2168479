import json
import os

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.run_files import read_evaluations, read_progress

ENTRY = {"iter": 400, "mIoU": 41.0, "IoU": {"road": 90.0, "train": None}, "without_label": ["a"]}


def test_no_files(tmp_path):
    assert read_evaluations(tmp_path) == [] and read_progress(tmp_path) == {}


def test_evaluations_come_in_the_order_of_steps(tmp_path):
    later = {**ENTRY, "iter": 800}
    (tmp_path / "evaluations.json").write_text(json.dumps([later, ENTRY]))
    assert read_evaluations(tmp_path) == [ENTRY, later]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "Expecting value"),
        ('[{"iter": 3', "Expecting"),
        ("\xff", "is no text in UTF-8"),
        ("[" * 3000, "recursion"),
        (ENTRY, "it is no list"),
        (5, "it is no list"),
        ([None], "entry 0 has no number of its step"),
        ([ENTRY, {"mIoU": 3.0}], "entry 1 has no number of its step"),
        ([{"iter": "400"}], "entry 0 has no number of its step"),
        ([{"iter": True}], "entry 0 has no number of its step"),
        ([{"iter": -1}], "entry 0 has no number of its step"),
        ([{**ENTRY, "mIoU": "41"}], "mIoU '41' of step 400 is no number"),
        ([{**ENTRY, "mIoU": float("nan")}], "mIoU nan of step 400 is no number"),
        ([{**ENTRY, "mIoU": 10**400}], "mIoU 10{400} of step 400 is no number"),
        ([{**ENTRY, "IoU": [90.0]}], r"IoU \[90.0\] of step 400 is no map"),
        ([{**ENTRY, "IoU": {"road": "90"}}], "road '90' of step 400 is no number"),
    ],
)
def test_damaged_evaluations_are_named_and_left_alone(tmp_path, content, what):
    path = tmp_path / "evaluations.json"
    data = content.encode("latin1") if isinstance(content, str) else json.dumps(content).encode()
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{path} (is damaged: )?.*{what}") as error:
        read_evaluations(tmp_path)
    assert "move it away" in error.value.fix and path.read_bytes() == data


def test_evaluations_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "evaluations.json")
    with pytest.raises(UserError, match="evaluations.json is a named pipe"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[1]", "5", '{"iter": "3"}', '{"iter": NaN}', '{"iter": 1.5}']
)
def test_damaged_progress_is_as_good_as_none(tmp_path, text):
    (tmp_path / "progress.json").write_text(text)
    assert read_progress(tmp_path) == {}


def test_numbers_of_a_progress_file(tmp_path):
    content = {"iter": 3, "max_iters": 9, "seconds_per_iter": 0.5, "eta_seconds": -1, "more": "x"}
    (tmp_path / "progress.json").write_text(json.dumps(content))
    assert read_progress(tmp_path) == {"iter": 3, "max_iters": 9, "seconds_per_iter": 0.5}
