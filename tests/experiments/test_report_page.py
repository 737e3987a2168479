"""The report as an HTML page: what it shows, that it is one file, and that it is well-formed."""

import base64
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from PIL import Image

from mmseg_uda.experiments.curves import gain_chart
from mmseg_uda.experiments.grid import Reported, find_experiment
from mmseg_uda.experiments.jobs import JobFolder, State
from mmseg_uda.experiments.profiles import mini_experiment
from mmseg_uda.experiments.report import write_report
from mmseg_uda.experiments.report_tables import Table
from mmseg_uda.files import write_json

VOID = {"meta", "br", "img", "link", "hr", "input"}
PALETTE = [[128, 64, 128], [0, 80, 100]]


def job(folder, name, mious=(), state=State.DONE, log="", loss=(), examples=True, message=""):
    """A job's folder as a training leaves it."""
    files = JobFolder(folder / name)
    files.claim("f")
    files.begin("f", pid=1)
    evaluations = [
        {"iter": 4000 * (i + 1), "mIoU": v, "IoU": {"road": v + 10, "train": v - 10}}
        for i, v in enumerate(mious)
    ]
    write_json(files.path / "evaluations.json", evaluations)
    write_json(files.path / "progress.json", {"iter": 4000 * len(mious), "seconds_per_iter": 0.5})
    files.log.write_text(log)
    if loss:
        scalars = files.path / "20260101_000000" / "vis_data" / "scalars.json"
        scalars.parent.mkdir(parents=True)
        lines = [
            json.dumps({"decode.loss_seg": v, "lr": 1e-4, "step": 50 * (i + 1)})
            for i, v in enumerate(loss)
        ]
        scalars.write_text("\n".join(lines) + "\n")
    if examples:
        pictures = files.path / "examples"
        pictures.mkdir()
        Image.new("RGB", (8, 4), (10, 20, 30)).save(pictures / "00_image.jpg")
        for kind in ("label", "prediction"):
            Image.new("P", (8, 4), len(name) % 2).save(pictures / f"00_{kind}.png")
        entry = {
            "name": "frame_1",
            "image": "00_image.jpg",
            "label": "00_label.png",
            "prediction": "00_prediction.png",
        }
        content = {"iter": 8000, "classes": ["road", "train"], "palette": PALETTE}
        write_json(pictures / "examples.json", {**content, "examples": [entry]})
    files.finish(state, 0, message)


def test_pictures_come_from_the_jobs_folder_alone(tables, tmp_path):
    """A list of examples that points elsewhere puts no other file into the page."""
    table = find_experiment(tables, 90)
    name = table.jobs()[0].name
    job(tmp_path, name, (50.0,))
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"another file")
    listed = tmp_path / name / "examples/examples.json"
    content = json.loads(listed.read_text())
    for place in (str(secret), "../../secret.png", "../../secret.txt", 7):
        content["examples"][0] |= {"label": place}
        write_json(listed, content)
        page = write_report(table, tmp_path, "paper")[3].read_text()
        assert base64.b64encode(b"another file").decode() not in page
        assert page.count("data:image/png") == 1 and "ground truth" not in page


def test_curves_of_jobs_that_have_not_ended_are_marked(tables, tmp_path):
    table = find_experiment(tables, 90)
    first, second, *_ = (row_jobs[0].name for row_jobs in by_row(table))
    job(tmp_path, first, (50.0, 60.0))
    job(tmp_path, second, (20.0,), State.INTERRUPTED)
    page = write_report(table, tmp_path, "paper")[3].read_text()
    legend = page.partition('<ul class="legend">')[2].partition("</ul>")[0]
    lines = re.findall(r"<li>.*?</li>", legend)
    assert ["interim" in line for line in lines] == [False, True] + [False] * (len(lines) - 2)


def by_row(table):
    """The jobs of every row."""
    return [[one for one in table.jobs() if one.row is row] for row in table.rows]


@pytest.fixture
def table(tables):
    return find_experiment(tables, 90)


@pytest.fixture
def folder(table, tmp_path):
    names = [one.name for one in table.jobs()]
    job(tmp_path, names[0], (40.0, 50.0), loss=(2.0, 1.0, 0.5))
    job(tmp_path, names[1], (42.0, 56.0), loss=(2.0, 1.0, 0.7))
    job(tmp_path, names[3], (44.0, 60.0))
    log = "step 1\n" + "\n".join(f"line {i}" for i in range(100)) + "\nRuntimeError: <out> & over"
    job(tmp_path, names[6], (), State.FAILED, log, examples=False, message="exit status 1")
    return tmp_path


@pytest.fixture
def page(table, folder):
    return write_report(table, folder, "paper")[3].read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Tags must be balanced; collects what a browser would fetch, ids and links."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.ids, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [attrs[k] for k in ("src", "data", "srcset", "poster") if k in attrs]
        if tag in ("link", "script", "iframe"):
            self.sources.append(tag)
        if tag == "a":
            self.links.append(attrs["href"])
        if "id" in attrs:
            self.ids.append(attrs["id"])

    def handle_startendtag(self, tag, attrs):
        pass  # SVG's empty elements

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def words(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_it_is_one_file_that_asks_for_nothing(page):
    checker = check(page)
    assert checker.sources and all(source.startswith("data:image/") for source in checker.sources)
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert {link.removeprefix("#") for link in checker.links} <= set(checker.ids)


def test_the_tables_are_those_of_the_markdown_report(page):
    text = words(page)
    assert "1 DAFormer 2/3 53.0 ± 4.2 51.28" in text
    assert "2 DAFormer + CSI 1/3 60.0 –" in text
    assert "mIoU, reported" in text
    assert "selected on target" in text


def test_the_class_table_shades_cells_and_names_colors(page):
    assert 'style="--heat: 0.70">70.0</td>' in page  # road, row 2
    assert '--heat: 0.63">63.0<small>± 4.2</small>' in page  # road, row 1, two seeds
    assert "background: rgb(0 80 100)" in page  # train


def test_reported_values_of_classes_stand_below_their_row(table, folder):
    reported = Reported({"mIoU": 51.28, "IoU.road": 87.6}, origin="the paper")
    rows = (replace(table.rows[0], reported=reported), *table.rows[1:])
    page = write_report(replace(table, rows=rows), folder, "paper")[3].read_text(encoding="utf-8")
    line = re.search(r'<td class="name">1 reported</td>(.*?)</tr>', page, re.S)[1]
    assert re.findall(r">([\d.–]+)</td>", line) == ["87.6", "–"]


def test_charts_are_well_formed_and_carry_the_curves(page):
    charts = re.findall(r'<svg class="chart".*?</svg>', page, re.S)
    parsed = [ElementTree.fromstring(chart) for chart in charts]
    by_name = {chart.get("aria-label"): chart for chart in parsed}
    miou = by_name["mIoU on the target validation set over iterations"]
    titles = [t.text for t in miou.iter("title")]
    assert "DAFormer: 53 at the end" in titles  # the mean of both seeds
    assert "DAFormer: 41 at 4000" in titles
    loss = by_name["decode.loss_seg over iterations"]
    assert "DAFormer: 0.6 at the end" in [t.text for t in loss.iter("title")]
    assert any(name.startswith("Losses of") for name in by_name)


def test_the_published_value_is_marked(page):
    dots = re.search(r'<svg class="chart"[^>]*mIoU of every row.*?</svg>', page, re.S)[0]
    assert "<title>reported: 51.28</title>" in dots
    assert dots.count("<circle") == 3


def test_numbers_are_right_aligned_and_names_of_rows_are_not():
    printed = Table(["", "UDA", "oracle"], [["3 scales", "66.5 ± 0.9 (68.3)", "62.7¹"]])
    assert [printed.numeric(k) for k in range(3)] == [False, True, True]
    differences = Table(["#", "row", "Δ"], [["1", "90 jobs", "+8.5"], ["2", "9 jobs", "-1.8"]])
    assert [differences.numeric(k) for k in range(3)] == [True, False, True]


def test_long_names_of_rows_fit_into_the_picture_of_gains():
    name = "HRDA, detail crop 384 over DAFormer without depth-wise separation"
    chart = ElementTree.fromstring(gain_chart(["road"], [(name, [2.0])], "gains"))
    (label,) = (one for one in chart.iter("text") if one.text == name)
    assert float(label.get("x")) >= 6.8 * len(name)  # its width in the page's font
    assert float(chart.get("width")) > float(label.get("x")) + 34


def test_examples_show_every_row_that_has_them(page):
    strip = re.search(r'<div class="strip">.*?</div>', page, re.S)[0]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", strip)
    assert captions == ["image", "ground truth", "1 DAFormer", "2 DAFormer + CSI"]
    (first, *_) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', strip)
    assert Image.open(io.BytesIO(base64.b64decode(first))).size == (8, 4)
    legend = re.findall(r'background: (rgb\([\d ]+\))"></span>(\w+)</li>', page)
    assert ("rgb(128 64 128)", "road") in legend and ("rgb(0 0 0)", "unlabelled") in legend


def test_a_failure_shows_its_message_and_the_end_of_its_log(page):
    assert "exit status 1" in page
    log = re.search(r"<pre>(.*?)</pre>", page, re.S)[1]
    assert "RuntimeError: &lt;out&gt; &amp; over" in log
    assert "line 99" in log and "line 3\n" not in log
    assert re.search(r"<details open>\s*<summary>.*3 HRDA, seed 0", page)
    assert '<span class="state failed">1 failed</span>' in page


def test_the_miniworld_is_labelled_and_shows_no_published_number(table, folder):
    text = write_report(mini_experiment(table), folder, "mini")[3].read_text(encoding="utf-8")
    check(text)
    assert "These are miniworld numbers" in text
    assert "51.28" not in text and "reported" not in words(text.split("<main>")[1]).split("Jobs")[0]
    assert "source-only (reference)" in text
    assert "dashed" in text


def test_a_report_before_the_first_step(table, tmp_path):
    page = write_report(table, tmp_path, "paper")[3].read_text(encoding="utf-8")
    check(page)
    assert "18 pending" in page
    assert "Nothing was logged yet." in page


def test_no_torch_is_imported():
    code = "import sys, mmseg_uda.experiments.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
