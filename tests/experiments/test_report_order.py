"""The paragraph that compares a table's order with the published one, and its picture."""

import pytest

from mmseg_uda.experiments.grid import Job, find_experiment
from mmseg_uda.experiments.jobs import State
from mmseg_uda.experiments.profiles import mini_experiment
from mmseg_uda.experiments.report_order import (
    class_gains,
    comparisons,
    expected_order,
    in_words,
)
from mmseg_uda.experiments.results import JobResult, RowResult


@pytest.fixture(scope="module")
def table(tables):
    return mini_experiment(find_experiment(tables, 90))


def results(table, values, metric="mIoU_16", **more):
    """Rows with these values, one per seed, by label."""
    rows = []
    for number, row in enumerate(table.rows, start=1):
        jobs = []
        for seed, value in enumerate(values.get(row.label, ())):
            last = {metric: value, "mIoU": value, "IoU": {"road": value / 2}, **more}
            job = Job(table.id, number, row, seed)
            jobs.append(JobResult(job, State.DONE, last, last, [last], 1.0, 0.1, 1200, ""))
        rows.append(RowResult(number, row, tuple(jobs)))
    return rows


VALUES = {
    "source-only": (20.0, 22.0),
    "DAFormer": (30.0, 32.0),
    "DAFormer + CSI": (31.0, 31.0),
    "HRDA": (36.0, 31.0),
    "MIC": (34.0, 30.0),
    "target-only": (60.0, 62.0),
}


def test_the_order_is_that_of_the_published_numbers_between_the_references(table):
    order, metric = expected_order(table, results(table, VALUES))
    labels = [row.row.label for row in order]
    assert labels == ["source-only", "DAFormer", "HRDA", "MIC", "target-only"]
    assert metric == "mIoU_16"  # the last column that all of them have a number for


def test_a_method_is_compared_with_its_host(table):
    names = [step.name for step in comparisons(table, results(table, VALUES))]
    assert names[:4] == [
        "DAFormer over source-only",
        "HRDA over DAFormer",
        "MIC over HRDA",
        "target-only over MIC",
    ]
    assert names[4:] == [
        "DAFormer + CSI over DAFormer",
        "HRDA + CSI over HRDA",
        "MIC + CSI over MIC",
    ]


def test_differences_are_taken_within_a_seed(table):
    rows = results(table, VALUES)
    steps = {step.name: step.gains for step in comparisons(table, rows)}
    assert steps["HRDA over DAFormer"] == [6.0, -1.0]
    assert steps["MIC over HRDA"] == [-2.0, -1.0]
    assert steps["HRDA + CSI over HRDA"] == []  # not trained
    text = in_words(table, rows)
    assert "source-only < DAFormer < HRDA < MIC < target-only" in text
    assert "HRDA over DAFormer +2.5 (1 of 2 seeds)" in text
    assert text.endswith("Not as expected: MIC over HRDA, DAFormer + CSI over DAFormer.")


def test_seeds_of_one_row_alone_say_nothing(table):
    rows = results(table, {"DAFormer": (30.0,), "HRDA": ()})
    assert in_words(table, rows) == ""


def test_gains_per_class(table):
    classes, lines = class_gains(table, results(table, VALUES))
    assert classes == ["road"]
    assert dict(lines)["HRDA over DAFormer"] == [1.25]


def test_hosts_that_stand_below_the_table_are_found(tables):
    table = mini_experiment(find_experiment(tables, 81))
    values = {f"AdvSeg{end}": (20.0,) for end in (" + MIC", ", host alone")}
    rows = results(table, values, "mIoU")
    text = in_words(table, rows)
    assert "AdvSeg + MIC over AdvSeg, host alone +0.0 (0 of 1 seeds)" in text
    assert "Not as expected: AdvSeg + MIC over AdvSeg, host alone." in text


ENDS = {"source-only": (10.0,), "target-only": (60.0,)}


@pytest.mark.parametrize(("number", "values", "told"), [(90, VALUES, True), (81, ENDS, False)])
def test_new_classes_are_those_of_tables_that_have_some(tables, number, values, told):
    table = mini_experiment(find_experiment(tables, number))
    assert ("new classes" in in_words(table, results(table, values, mIoU_new=8.0))) is told
