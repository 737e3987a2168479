import csv
import io
import json

import pytest

from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.jobs import JobFolder, State
from mmseg_uda.experiments.profiles import mini_experiment
from mmseg_uda.experiments.report import write_report
from mmseg_uda.experiments.report_tables import what_is_shown
from mmseg_uda.experiments.results import RowResult, mean
from mmseg_uda.files import write_json


def finish(folder, name, evaluations, state=State.DONE):
    job = JobFolder(folder / name)
    job.claim("f")
    job.begin("f", pid=1)
    write_json(job.path / "evaluations.json", evaluations)
    progress = {"iter": evaluations[-1]["iter"], "max_iters": 40000, "seconds_per_iter": 0.5}
    write_json(job.path / "progress.json", progress)
    job.finish(state, 0)


def evaluation(step, miou, train=0.0, **more):
    return {"iter": step, "mIoU": miou, "IoU": {"road": 90.0, "train": train}, **more}


@pytest.fixture
def table(tables):
    return find_experiment(tables, 90)


@pytest.fixture
def folder(table, tmp_path):
    """Row 1: three seeds done. Row 2: one done, one at its first validation."""
    names = [job.name for job in table.jobs()]
    for name, last in zip(names[:3], (50.0, 52.0, 57.0), strict=True):
        evaluations = [evaluation(36000, 58.0), evaluation(40000, last, mIoU_16=last + 5)]
        finish(tmp_path, name, evaluations)
    finish(tmp_path, names[3], [evaluation(40000, 60.0, train=30.0)])
    finish(tmp_path, names[4], [evaluation(4000, 20.0)], State.INTERRUPTED)
    return tmp_path


def test_mean_and_sample_deviation():
    assert mean([]) is None
    assert str(mean([50.0])) == "50.0"
    # 50, 52, 57: mean 53, deviations -3 -1 4, sample variance 26 / 2 = 13
    result = mean([50.0, None, 52.0, 57.0])
    assert (result.value, result.count) == (53.0, 3)
    assert result.deviation == pytest.approx(13**0.5)
    assert str(result) == "53.0 ± 3.6"


def test_the_paper_report(table, folder):
    markdown = write_report(table, folder, "paper")[0].read_text()
    lines = markdown.splitlines()
    # last iteration beside the derived number; unknown cells stay empty
    assert any(
        line.startswith("| 1 | DAFormer | 3/3 | 53.0 ± 3.6 | 51.28 | 58.0 ± 3.6 | 60.9 |")
        and "derived, other code base" in line
        for line in lines
    )
    assert any(line.startswith("| 2 | DAFormer + CSI | 1/3 | 60.0 | – |") for line in lines)
    assert any(line.startswith("| 3 | HRDA | 0/3 | – | 55.41 |") for line in lines)
    # the best validation stands apart, with its caveat
    assert "selected on the target" in markdown
    assert "| 1 | DAFormer | 53.0 ± 3.6 | 58.0 ± 0.0 | 36000, 36000, 36000 |" in lines
    # unfinished jobs are shown, but never averaged
    assert any("interrupted" in line and "20.0 (at 4000)" in line for line in lines)
    # per class
    assert "| 2 | DAFormer + CSI | 90.0 | 30.0 |" in lines


def test_the_miniworld_report_says_so_and_shows_no_published_number(table, folder):
    markdown = write_report(mini_experiment(table), folder, "mini")[0].read_text()
    assert "These are miniworld numbers" in markdown
    assert "51.28" not in markdown and "Note:" not in markdown
    assert "source-only (reference)" in markdown
    content = json.loads((folder / "results.json").read_text())
    assert {row["reported"] for row in content["rows"]} == {None}


def test_csv_and_json_hold_every_job(table, folder):
    paths = write_report(table, folder, "paper")
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert len(rows) == 18
    assert (rows[0]["mIoU"], rows[0]["best_mIoU"], rows[0]["best_iteration"]) == (
        "50.0",
        "58.0",
        "36000",
    )
    assert rows[3]["IoU.train"] == "30.0"
    assert rows[5]["state"] == "pending"
    content = json.loads(paths[2].read_text())
    first = content["rows"][0]
    assert first["mean"]["mIoU"] == {"mean": 53.0, "std": pytest.approx(13**0.5), "seeds": 3}
    assert first["reported"]["values"]["mIoU"] == 51.28
    assert [job["state"] for job in first["jobs"]] == ["done"] * 3


def test_seeds_beyond_the_tables_own_are_found(table, tmp_path):
    finish(tmp_path, table.jobs(rows=[1], seeds=[7])[0].name, [evaluation(40000, 44.0)])
    markdown = write_report(table, tmp_path, "paper")[0].read_text()
    assert "| 1 | DAFormer | 1/4 | 44.0 |" in markdown


def test_a_row_shows_the_columns_that_mean_something_for_it(tables, tmp_path):
    """The source model's new classes are not those of the taxonomy it is aligned with."""
    table = find_experiment(tables, 600)
    source, aligned = table.jobs(rows=[2], seeds=[0])  # with what it reads from
    for job in (source, aligned):
        value = evaluation(40000, 50.0, mIoU_new=38.0, mIoU_known=52.0, aAcc=80.0)
        finish(tmp_path, job.name, [value])
    lines = write_report(table, tmp_path, "paper")[0].read_text().splitlines()
    first, second = (next(x for x in lines if x.startswith(f"| {n} |")) for n in (1, 2))
    assert "38.0" not in first and "52.0" not in first and "| 80.0 |" in first
    assert "38.0" in second and "52.0" in second


def test_rows_with_one_validation_have_no_best(table, folder):
    markdown = write_report(table, folder, "paper")[0].read_text()
    best = markdown.partition("\n## Best")[2].partition("\n## ")[0]
    assert "| 1 | DAFormer |" in best
    assert "| 2 |" not in best  # its finished job was validated once
    assert "| 3 |" in best  # nothing finished yet


def test_rows_of_one_seed_and_differences_are_told(table, folder):
    lines = write_report(table, folder, "paper")[0].read_text().splitlines()
    assert "One seed, and so no deviation: row 2." in lines
    assert "| 1 | DAFormer | mIoU | 53.0 ± 3.6 | 51.28 | +1.7 |" in lines
    assert "| 1 | DAFormer | mIoU 16 | 58.0 ± 3.6 | 60.9 | -2.9 |" in lines
    mini = write_report(mini_experiment(table), folder, "mini")[0].read_text()
    assert "Beside the published values" not in mini


def test_the_protocol_names_network_size_window_classes_and_software(table, folder):
    markdown = write_report(table, folder, "paper")[0].read_text()
    protocol = markdown.partition("## Protocol")[2].partition("\n## ")[0]
    assert (
        "Student at the last iteration, DAFormerHead on MiT, images within 1024x512, whole "
        "images, 19 classes (rows 1, 2)." in protocol
    )
    assert (
        "DAFormerHead on MiT in HRDA, images within 2048x1024, windows of 1024x1024, stride "
        "512x512, 19 classes (rows 3, 4, 5, 6)." in protocol
    )
    assert "Report written with mmseg_uda" in protocol and "torch " in protocol
    mini = write_report(mini_experiment(table), folder, "mini")[0].read_text()
    assert "NanoBackbone, images within 128x64, whole images" in mini


def test_an_average_is_not_called_the_student(tables):
    rows = find_experiment(tables, 711).rows
    (average,) = [row for row in rows if row.label == "ACDC: SoMA"]
    last = next(row for row in find_experiment(tables, 90).rows)
    found = [RowResult(n, row, ()) for n, row in enumerate([average, last], start=1)]
    assert what_is_shown(found[:1]).startswith(
        "Target validation set, average of the weights at the last iteration"
    )
    assert "average of the weights or student at" in what_is_shown(found)


def test_the_protocol_of_several_targets_names_them_and_their_size(tables, tmp_path):
    markdown = write_report(find_experiment(tables, 50), tmp_path, "paper")[0].read_text()
    protocol = markdown.partition("## Protocol")[2].partition("\n## ")[0]
    named = "19 classes, targets cityscapes, bdd100k, mapillary"
    assert (
        f"DAFormerHead on MiT, images within 1024x512, whole images, {named} (row 1)." in protocol
    )
    windows = "windows of 1024x1024, stride 512x512"
    assert f"images within 2048x1024, {windows}, {named} (rows 2, 3)." in protocol


def test_numbers_of_a_test_server_say_so(tables, tmp_path):
    lines = write_report(find_experiment(tables, 8), tmp_path, "paper")[0].read_text().splitlines()
    (head,) = (line for line in lines if line.startswith("| # | row | seeds |"))
    assert "| mIoU, test server | mIoU, test server, reported |" in head


def test_a_table_has_the_papers_lines_and_columns(tables, tmp_path):
    table = find_experiment(tables, 6)
    finish(tmp_path, table.jobs(rows=[13], seeds=[0])[0].name, [evaluation(40000, 67.5)])
    markdown = write_report(table, tmp_path, "paper")[0].read_text()
    printed = markdown.partition("## As the paper prints it")[2].partition("\n## ")[0]
    lines = printed.strip().splitlines()
    assert lines[0] == "|  | UDA | oracle |"
    assert lines[2] == "| SegFormer, 256 channels | – | – |"  # from memory: not shown
    assert lines[-1] == "| DAFormer | 67.5¹ (68.3) | – |"
    assert "One seed, and so no deviation (marked ¹ in the paper's layout): row 13." in markdown
    assert "67.1" not in markdown and "77.6" not in markdown
