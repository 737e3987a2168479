"""Presets, working sizes and wrong values."""

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import ToyScorer
from mmseg_uda.methods.dynalign import Engine, Options, preset, working_shape
from mmseg_uda.taxonomy import load_taxonomy_map


def test_the_released_preset_is_what_was_released():
    options = preset("released", taxonomy="idd_v5")
    assert options.working_size == "stretch:1440x1920"
    assert options.channel_order == "bgr"
    assert options.crops == "exact"
    assert options.context_offsets == (0, 200)
    assert options.minor_padding == 20
    assert options.logit_scale == 100
    assert options.threshold == 0.6
    assert options.fusion == "dynamic"
    assert options.feature_dtype == "float32"  # nothing is rounded before the decision
    assert options.vote == "hard"
    assert options.contexts == "released"
    assert options.masked
    assert options.shared
    assert not options.sum_per_id
    assert not options.renormalize
    assert not options.normalize_before_mean


def test_the_recommended_preset_keeps_the_ratio_of_idd_only():
    assert preset(taxonomy="idd_v5").working_size == "keep_ratio:1920"
    assert preset(taxonomy="mapillary_v5").working_size == "stretch:1440x1920"
    assert preset(changes=dict(working_size="original"), taxonomy="idd_v5").working_size == (
        "original"
    )
    assert preset().channel_order == "rgb"
    assert preset().crops == "fast"


def test_changes_that_are_none_keep_the_preset():
    assert preset("released", dict(threshold=None, fusion="mean")) == Options(
        channel_order="bgr",
        source_resize="labels",
        crops="exact",
        contexts="released",
        feature_dtype="float32",
        fusion="mean",
    )


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("stretch:1440x1920", (1440, 1920)),
        ("keep_ratio:1920", (1080, 1920)),
        ("keep_ratio:100", (56, 100)),
        ("original", (720, 1280)),
    ],
)
def test_working_sizes(text, shape):
    assert working_shape(text, (720, 1280)) == shape


def test_a_very_long_image_keeps_a_pixel():
    assert working_shape("keep_ratio:10", (1, 4000)) == (1, 10)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (dict(working_size="big"), "working_size='big'"),
        (dict(working_size="stretch:0x4"), "working_size"),
        (dict(fusion="sum"), "one of dynamic, mean, none, context"),
        (dict(threshold=1.5), "threshold=1.5"),
        (dict(context_offsets=()), "context_offsets"),
        (dict(confidence_default=256), "confidence_default"),
        (dict(treshold=0.5), "no option 'treshold'"),
        (dict(threshold="0.3"), "threshold='0.3'"),
        (dict(threshold=True), "threshold=True"),
        (dict(shared="no"), "shared='no'"),
        (dict(minor_padding=2.5), "minor_padding=2.5"),
        (dict(context_offsets=("0",)), "context_offsets"),
        (dict(logit_scale=0), "logit_scale=0.0 is out of range"),
    ],
)
def test_wrong_values_are_named(wrong, text):
    with pytest.raises(UserError, match=text):
        preset(changes=wrong)


def test_a_whole_number_is_a_fraction_and_one_offset_needs_no_list():
    assert preset(changes=dict(threshold=1)) == preset(changes=dict(threshold=1.0))
    assert preset(changes=dict(threshold=1)).as_json()["threshold"] == 1.0
    assert preset(changes=dict(context_offsets=200)).context_offsets == (200,)


def test_an_unknown_preset():
    with pytest.raises(UserError, match="released, recommended"):
        preset("paper")


def test_paddings_follow_the_size_of_images():
    taxonomy = load_taxonomy_map("mapillary_v5")
    engine = Engine(taxonomy, ToyScorer(), preset("recommended", {"padding_scale": 0.1}))
    assert engine.paddings[[0, 1, 2, 13]].tolist() == [12, 8, 4, 1]
    assert Engine(taxonomy, ToyScorer(), preset()).paddings.tolist() == list(taxonomy.paddings)
