"""Pictures of an alignment and the page on its regions."""

import base64
import html.parser
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

import mmseg_uda.visualization.alignment_picture as module
from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.visualization.alignment_page import RegionDecision, alignment_page
from mmseg_uda.visualization.alignment_picture import (
    AlignmentView,
    alignment_picture,
    paint,
    present,
    region_colors,
)
from mmseg_uda.visualization.canvas import Classes

SOURCE = Classes(("road", "car"), ((128, 64, 128), (0, 0, 142)))
TARGET = Classes(("Road", "<Crosswalk>", "Car"), ((128, 64, 128), (200, 128, 128), (0, 0, 142)))


@pytest.fixture
def masks():
    whole, part = np.ones((12, 16), bool), np.zeros((12, 16), bool)
    part[2:6, 3:9] = True
    return MaskSet.from_masks([part, whole], (12, 16))


@pytest.fixture
def view(masks):
    rng = np.random.default_rng(0)
    aligned = np.zeros((12, 16), np.uint8)
    aligned[2:6, 3:9] = 1
    aligned[0, 0] = 255
    return AlignmentView(
        image=rng.integers(0, 255, (12, 16, 3), np.uint8),
        source=np.zeros((12, 16), np.uint8),
        owner=masks.owner(),
        aligned=aligned,
        source_classes=SOURCE,
        target_classes=TARGET,
    )


DECISIONS = [
    RegionDecision(0, 1, True, True, [("Road", 0.3), ("<Crosswalk>", 0.7)]),
    RegionDecision(0, 0, False, False, [("Road", 0.45), ("<Crosswalk>", 0.55)]),
]


class Structure(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("src", "href", "action")]
        if tag not in ("meta", "img", "input", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def test_four_pictures_and_the_legend_of_what_occurs(view):
    picture = np.asarray(alignment_picture(view, width=160))
    assert picture.shape[1] == 2 * 160 + 12 + 2 * 12
    colors = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
    assert {TARGET.colors[0], TARGET.colors[1]} <= colors
    assert SOURCE.colors[1] not in colors  # no car in either prediction


@pytest.mark.parametrize("shape", [(12, 16), (30, 60), (60, 60), (1080, 1920)])
def test_pictures_keep_the_shape_of_the_file(view, shape, monkeypatch):
    shown = []
    fit = module.fit
    monkeypatch.setattr(module, "fit", lambda *args: shown.append(fit(*args)) or shown[-1])
    alignment_picture(replace(view, shape=shape), width=160)
    assert len(shown) == 4 and {one.width for one in shown} == {160}
    # As exactly as the few rows of the arrays allow.
    assert all(abs(one.height - 160 * shape[0] / shape[1]) <= 1 for one in shown)


def test_the_legend_names_classes_by_area_and_what_has_none(view):
    assert [name for name, _ in present(view.aligned, TARGET)] == [
        "Road",
        "<Crosswalk>",
        "unlabelled",
    ]


def test_large_ids_are_painted():
    wide = Classes(tuple("abc") * 100, ((1, 2, 3),) * 299 + ((9, 8, 7),))
    assert paint(np.array([[0, 299, 65535]], np.uint16), wide).tolist() == [
        [[1, 2, 3], [9, 8, 7], [0, 0, 0]]
    ]


def test_regions_have_borders_and_the_rest_stays_grey():
    image = np.full((6, 6, 3), 100, np.uint8)
    owner = np.full((6, 6), -1)
    owner[:, 3:] = 0
    drawn = region_colors(image, owner)
    assert (drawn[:, :3] == 100).all()
    assert (drawn[:, 3] == 255).all()
    assert len(np.unique(drawn[:, 4:].reshape(-1, 3), axis=0)) == 1


def test_the_page_is_whole_and_needs_nothing_else(view, masks):
    page = alignment_page("frame & <one>", view, masks, DECISIONS, 0.6, "2 regions")
    found = Structure(page)
    assert found.open == []
    assert all(link.startswith("data:image/") for link in found.links)
    assert len(found.links) == 4 + 2
    assert not re.search(r"https?://|url\(|@import", page)
    text = " ".join(" ".join(found.texts).split())
    assert "frame & <one>" in text
    # From the largest region to the smallest.
    assert text.index(" default kept ") < text.index(" accepted ")
    assert text.index("55.0 %") < text.index("70.0 %")
    assert "192 px, 100.00 %" in text
    assert "24 px, 12.50 %" in text


def test_the_best_candidate_comes_first_and_the_threshold_is_marked(view, masks):
    page = alignment_page("x", view, masks, DECISIONS, 0.6)
    first = page.index('class="best"')
    assert "&lt;Crosswalk&gt;" in page[first : first + 80]
    assert page.count('style="left:60.0%"') == 4
    assert 'style="left:' not in alignment_page("x", view, masks, DECISIONS, 1.0)


def test_outlines_follow_the_region(view, masks):
    page = alignment_page("x", view, masks, DECISIONS, 0.6)
    outlines = re.findall(r'data-path="([^"]+)"', page)
    assert [int(v) for v in re.findall(r"\d+", outlines[1])] == [3, 2, 3, 5, 8, 5, 8, 2]


@pytest.mark.parametrize("shape", [(12, 16), (30, 60), (60, 60), (64, 16)])
def test_the_page_keeps_the_shape_of_the_file(view, masks, shape):
    page = alignment_page("x", replace(view, shape=shape), masks, DECISIONS, 0.6)
    data = [link.partition("base64,")[2] for link in Structure(page).links]
    shown = [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), 1) for one in data]
    sizes = [one.shape[:2] for one in shown]
    assert all(abs(width - height * shape[1] / shape[0]) <= 0.5 for height, width in sizes[:4])
    # the thumbnail of the region that is the image
    longer = max(shape)
    assert sizes[4] == tuple(round(104 * side / longer) for side in shape)


def test_many_candidates_are_folded_away(view, masks):
    many = [RegionDecision(0, 0, True, False, [(f"name {i}", i / 100) for i in range(9)])] * 2
    page = alignment_page("x", view, masks, many, 0.6)
    assert page.count("5 more candidates") == 2


def test_empty_regions_and_regions_without_a_class(view):
    masks = MaskSet.from_masks([np.zeros((12, 16), bool)], (12, 16))
    page = alignment_page("x", view, masks, [RegionDecision(-1, -1, False, False, [])], 0.6)
    assert "no source class" in page


def test_no_region(view):
    empty = MaskSet.from_masks([], (12, 16))
    assert "<article" not in alignment_page("x", view, empty, [], 0.6)
