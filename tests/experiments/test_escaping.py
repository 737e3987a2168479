"""Names in reports are shown as they are: rendered by a Markdown parser, read back as CSV."""

import csv
import io
import json
import re
from dataclasses import replace
from html import unescape

import pytest
from markdown_it import MarkdownIt

from mmseg_uda.escaping import csv_cell, markdown_code, markdown_text
from mmseg_uda.experiments.grid import Reported, find_experiment
from mmseg_uda.experiments.jobs import JobFolder, State
from mmseg_uda.experiments.report import write_report
from mmseg_uda.files import write_json

NASTY = [
    "a | b || c",
    "back\\slash \\| pipe",
    "ends in \\",
    "`code` ``more` ```",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![picture](http://evil.example/x.png)",
    "[link](javascript:alert(1))",
    "[ref][1]",
    "[1]: http://evil.example",
    "<http://evil.example>",
    "**bold** __bold__ *em* _em_ ~~gone~~",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "# heading",
    "> quote",
    "- item",
    "1. item",
    "1) item",
    "=== ---",
    "$x^2$",
    "road_side and snake_case_name",
    "R&D, 50 % <= x",
]
ONE_LINE = {"line\nbreak\r\n\n# heading": "line break # heading", "\tx\x00y\u2028z ": "x y z"}


def rendered(text):
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    return html, unescape(re.sub(r"<[^>]*>", "", html)).strip()


@pytest.mark.parametrize("name", [*NASTY, *ONE_LINE])
def test_markdown_shows_the_name(name):
    shown = ONE_LINE.get(name, name)
    html, text = rendered(markdown_text(name, paragraph=True))
    assert text == shown
    assert re.findall(r"<\w+", html) == ["<p"]
    for cell, tag in ((markdown_text(name), []), (markdown_code(name, in_table=True), ["<code"])):
        html, text = rendered(f"| head | other |\n|---|---|\n| {cell} | last |\n")
        assert re.findall(r"<td>(.*?)</td>", html, re.DOTALL)[1] == "last"
        assert text.split("\n")[-5].strip() == shown or shown in text
        found = re.findall(r"<(?!/?(?:table|thead|tbody|tr|th|td)\b)\w+", html)
        assert found == tag
    html, text = rendered(f"Folder: {markdown_code(name)}.")
    assert text == f"Folder: {shown}."
    assert re.findall(r"<\w+", html) == ["<p", "<code"]


@pytest.mark.parametrize("link", ["http://x.org", "HTTPS://x.org", "ftp://x.org", "www.x.org"])
def test_addresses_are_no_links(link):
    """GitHub makes links of them; the parser here does not, so what makes it do so is sought."""
    escaped = markdown_text(f"see {link}")
    assert not re.search(r"(https?|ftp)://|www\.", escaped, re.IGNORECASE)
    assert rendered(escaped)[1] == f"see {link}"


def test_plain_names_stay_plain():
    for name in ("DAFormer + CSI", "mIoU, reported", "traffic light", "0.5 ± 0.1", "snake_case-2"):
        assert markdown_text(name) == name
    assert markdown_code("a_b|c") == "`a_b|c`"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1"])
def test_no_formulas(name):
    assert csv_cell(name) == f"'{name}"
    assert csv_cell("1=1") == "1=1"
    assert csv_cell(-1.5) == -1.5


def test_a_report_of_nasty_names(tables, tmp_path):
    """Labels, notes, origins, classes, targets and messages; every file of the report."""
    nasty = "=cmd|' /C calc'!A0 <img src=x onerror=alert(1)> ![p](http://e.x/y) `x`\n# h"
    one_line = nasty.replace("\n", " ")
    table = find_experiment(tables, 90)
    row = replace(
        table.rows[0], label=nasty, note=nasty, reported=Reported({"mIoU": 1.0}, origin=nasty)
    )
    table = replace(table, rows=(row,), title=nasty, paper=nasty, notes=(nasty,))
    done, failed, _ = table.jobs()
    for job, state in ((done, State.DONE), (failed, State.FAILED)):
        files = JobFolder(tmp_path / job.name)
        files.claim("f")
        files.begin("f", pid=1)
        values = {"iter": 4000, "mIoU": 50.0, f"{nasty}/mIoU": 40.0, "IoU": {nasty: 90.0}}
        write_json(files.path / "evaluations.json", [values])
        files.finish(state, 0, nasty)
    markdown, table_file, content, page = write_report(table, tmp_path, "paper")
    html, text = rendered(markdown.read_text())
    assert set(re.findall(r"<(\w+)", html)) == (
        {"h1", "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td"}
    )
    # heading, title, note of the row, note, label in five tables, class, target, origin, message
    assert text.count(one_line) == 13
    lines = list(csv.reader(io.StringIO(table_file.read_text())))
    assert {line[1] for line in lines[1:]} == {f"'{nasty}"}
    cells = [cell for line in lines for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert json.loads(content.read_text())["rows"][0]["label"] == nasty
    assert "<img src=x" not in page.read_text() and "http://e.x/y" in page.read_text()
