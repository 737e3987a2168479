"""The web-like domain with finer classes, and the miniature CLIP that learns from it."""

from __future__ import annotations

import numpy as np
import pytest

from mmseg_uda.miniworld.canvas import Ids
from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.detail_classes import Detail, idd_table, vistas_table
from mmseg_uda.miniworld.detail_web import (
    class_ids,
    frame_regions,
    region_crops,
    render_detail_web,
    texts_of,
)
from mmseg_uda.miniworld.domains import render
from mmseg_uda.miniworld.unseen import WEB_DETAILS
from mmseg_uda.miniworld.web import read_web
from mmseg_uda.taxonomy import load_taxonomy_map


@pytest.fixture(scope="module")
def frame():
    return render(get_domain(WEB_DETAILS), "train", 3, seed=4)


def test_names_come_from_both_taxonomies():
    assert {"guard rail", "crash barrier"} <= set(texts_of(Detail.GUARD_RAIL))
    assert "tuk-tuk" in texts_of(Detail.AUTORICKSHAW)
    assert "zebra crossing marking" in texts_of(Detail.CROSSWALK)
    # IDD's obstacles have no name for a bench.
    assert "traffic cone" in texts_of(Detail.BARRICADE)
    assert "traffic cone" not in texts_of(Detail.BENCH)


@pytest.mark.parametrize(
    ("name", "table"), [("mapillary_v5", vistas_table()), ("idd_v5", idd_table())]
)
def test_every_name_that_competes_is_shown(name, table):
    map_ = load_taxonomy_map(name)
    shown = {int(table[id_]) for id_ in (*Ids, *Detail) if texts_of(id_)}
    competing = {map_.name_ids[n] for row in map_.candidates for n in row}
    assert competing <= shown


def test_regions_lie_inside_their_class(frame):
    found = list(frame_regions(frame, np.random.default_rng(0)))
    assert len(found) > 15
    for id_, region in found:
        assert region.sum() >= 30
        assert (frame.detail[region] == id_).all()
    assert np.bincount([id_ for id_, _ in found]).max() <= 2


def test_a_region_is_seen_alone_and_in_its_surroundings(frame):
    id_, region = max(frame_regions(frame, np.random.default_rng(0)), key=lambda r: r[1].sum())
    alone, around = region_crops(frame, region, np.random.default_rng(0))
    assert alone.shape == around.shape == (64, 64, 3)
    rows, columns = np.nonzero(region)
    box = region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    black = (alone == 0).all(-1).mean()
    assert black == pytest.approx(1 - box.mean(), abs=0.1)
    assert (around == 0).all(-1).mean() < 0.05


def test_captions_are_the_phrases_of_the_taxonomy(tmp_path):
    assert render_detail_web(tmp_path, seed=3, frames=12, workers=1)
    assert not render_detail_web(tmp_path, seed=3, frames=12, workers=1)
    captions, crops = read_web(tmp_path / WEB_DETAILS)
    assert len(captions) == len(crops) > 60
    for row in captions:
        assert row.text == f"a photo of {row.prompt}"
        assert row.prompt in texts_of(class_ids()[row.name])


def test_training_repeats_itself(tmp_path):
    import torch

    from mmseg_uda.miniworld.detail_weights import train_detail_clip

    render_detail_web(tmp_path, seed=3, frames=4, workers=1)
    web = read_web(tmp_path / WEB_DETAILS)
    first, second = (train_detail_clip(*web, steps=1).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
