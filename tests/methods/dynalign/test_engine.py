"""The engine on the published maps."""

import numpy as np
import pytest
import torch
import yaml
from toy_alignment import Recorded

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.masks import GridProposer
from mmseg_uda.methods.dynalign import Engine, Options, class_histogram, majority, preset
from mmseg_uda.taxonomy import load_taxonomy_map

ROAD, SKY, CAR = 0, 10, 13
SKY_COLOR, ROAD_COLOR = (120, 160, 230), (90, 60, 90)
SMALL = dict(working_size="original", context_offsets=(0, 2), minor_padding=1)


def planted(taxonomy, **colors):
    """A table by which all texts of some prompt-names stand for a colour."""
    phrases = dict(zip(taxonomy.names, taxonomy.phrases(), strict=True))
    return {phrase: color for name, color in colors.items() for phrase in phrases[name]}


def engine(name, colors=None, **options):
    taxonomy = load_taxonomy_map(name)
    scorer = Recorded(table=planted(taxonomy, **(colors or {})), input_size=8)
    return Engine(taxonomy, scorer, Options(**{**SMALL, **options}))


def aligned(made, source, color, regions=None):
    """Result for an image of one colour, cut into cells of four pixels."""
    image = np.empty((*source.shape, 3), np.uint8)
    image[:] = color[::-1]
    masks = GridProposer(4).propose(image[..., ::-1])
    masks = masks if regions is None else masks.select(regions)
    voted = majority(class_histogram(masks, source, len(made.taxonomy.source_classes)))
    return made.relabel(masks, source, voted, made.encode(image, masks, voted))


def test_the_shared_candidate_competes_in_the_sky():
    source = np.full((8, 8), SKY, np.uint8)
    made = engine("mapillary_v5", {"Bench": SKY_COLOR, "Sky": ROAD_COLOR})
    assert (aligned(made, source, SKY_COLOR).labels == 33).all()
    without = engine("mapillary_v5", {"Bench": SKY_COLOR, "Sky": ROAD_COLOR}, shared=False)
    result = aligned(without, source, SKY_COLOR)
    assert (result.labels == 27).all()
    assert result.decision.probability.tolist() == [1.0] * 4  # a sole candidate


def test_a_candidate_of_another_source_class_does_not_compete():
    source = np.full((8, 8), CAR, np.uint8)
    made = engine("mapillary_v5", {"Curb": SKY_COLOR, "Car": ROAD_COLOR, "Boat": SKY_COLOR})
    assert (aligned(made, source, SKY_COLOR).labels == 53).all()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("mapillary_v5", [[13, 27], [55, 52]]), ("idd_v5", [[0, 25], [9, 7]])],
)
def test_the_default_layer_of_the_published_maps(name, wanted):
    source = np.array([[0, 10], [13, 18]], np.uint8)
    assert aligned(engine(name), source, SKY_COLOR, regions=[]).labels.tolist() == wanted


def test_pixels_without_a_source_class_are_unlabeled_in_vistas():
    source = np.full((4, 4), 255, np.uint8)
    made = engine("mapillary_v5")
    assert (aligned(made, source, SKY_COLOR).labels == 65).all()
    assert made.scorer.image_calls == made.scorer.text_calls == 0


def test_no_region_asks_no_network():
    made = engine("mapillary_v5")
    aligned(made, np.zeros((8, 8), np.uint8), SKY_COLOR, regions=[])
    assert made.scorer.image_calls == made.scorer.text_calls == 0


def test_where_nothing_competes_nothing_is_encoded():
    made = engine("mapillary_to_cityscapes")
    source = np.kron([[23, 24], [2, 65]], np.ones((4, 4))).astype(np.uint8)
    assert aligned(made, source, SKY_COLOR).labels[::4, ::4].tolist() == [[0, 0], [1, 255]]
    assert made.scorer.image_calls == made.scorer.text_calls == 0


def test_no_shared_candidates_is_an_ablation_that_keeps_the_features():
    assert engine("mapillary_v5", shared=False).decided == engine("mapillary_v5").decided
    made = engine("idd_v5", shared=False)
    result = aligned(made, np.zeros((4, 4), np.uint8), SKY_COLOR)
    # Road alone is certain whatever is seen.
    assert result.decision.probability.tolist() == [1.0]


def test_texts_are_encoded_once_and_kept_in_a_folder(tmp_path):
    taxonomy = load_taxonomy_map("mapillary_v5")
    for expected in (452, 0):
        scorer = Recorded(input_size=8)
        made = Engine(taxonomy, scorer, Options(**SMALL), text_cache=tmp_path)
        for _ in range(3):
            made.vocabulary()
        assert len(scorer.phrases) == len(set(scorer.phrases)) == expected
    vocabulary = made.vocabulary()
    assert vocabulary.text.shape == (48, 32)
    assert torch.allclose(vocabulary.text.norm(dim=1), torch.ones(48))


def test_the_text_of_a_name_is_the_unit_mean_of_its_phrases():
    made = engine("mapillary_v5")
    n = made.names.index("Curb")
    phrases = made.taxonomy.phrases()[n]
    assert phrases[0] == "a photo of curb"
    raw = made.scorer.encode_text(phrases, torch.device("cpu"))
    wanted = torch.nn.functional.normalize(raw.mean(0), dim=0)
    assert torch.allclose(made.vocabulary().text[n], wanted, atol=1e-6)
    unit = engine("mapillary_v5", normalize_before_mean=True).vocabulary().text[n]
    wanted = torch.nn.functional.normalize(torch.nn.functional.normalize(raw, dim=1).mean(0), dim=0)
    assert torch.allclose(unit, wanted, atol=1e-6)
    alone = engine("mapillary_v5", contexts="name")
    assert alone.taxonomy.phrases()[n] == ["a photo of curb"]


def test_the_released_preset_has_the_released_texts():
    texts = {}
    for name in ("released", "recommended"):
        made = Engine(load_taxonomy_map("idd_v5"), Recorded(input_size=8), preset(name))
        texts[name] = made.taxonomy.phrases()[made.names.index("bicycle")]
    assert texts == {
        "released": ["a photo of bycycle"],
        "recommended": ["a photo of bicycle"],
    }


def test_regions_of_one_class_share_a_padding_and_its_factor():
    made = engine("mapillary_v5")
    names = made.taxonomy.source_classes
    found = dict(zip(names, made.paddings.tolist(), strict=True))
    assert [found[n] for n in ("road", "sky", "wall", "car")] == [120, 80, 10, 10]


def test_features_do_not_depend_on_the_chunk():
    source = np.zeros((16, 16), np.uint8)
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    masks = GridProposer(4).propose(image)
    found = []
    for chunk in (1, 7, 128):
        scorer = Recorded(input_size=8, chunk=chunk)
        made = Engine(
            load_taxonomy_map("mapillary_v5"), scorer, Options(**SMALL, feature_dtype="float32")
        )
        found.append(made.encode(image, masks, np.zeros(16, np.int64)))
        assert max(scorer.passes) <= chunk
        assert made.relabel(masks, source, np.zeros(16, np.int64), found[-1]).labels.shape == (
            16,
            16,
        )
    for other in found[1:]:
        assert np.allclose(other.masked, found[0].masked, atol=1e-5)
        assert np.allclose(other.context, found[0].context, atol=1e-5)


def test_features_that_are_no_numbers_are_an_error(monkeypatch):
    made = engine("mapillary_v5")
    overflown = torch.full((1, 32), torch.inf)
    monkeypatch.setattr(Recorded, "encode_image", lambda self, x: overflown.repeat(len(x), 1))
    with pytest.raises(UserError, match="not finite"):
        aligned(made, np.zeros((8, 8), np.uint8), SKY_COLOR)


def test_ids_of_candidates_need_sixteen_bits_even_if_no_default_does(tmp_path):
    names = [f"c{k}" for k in range(300)]
    content = {
        "source_classes": ["thing"],
        "target_classes": names,
        "default": {"thing": "c1"},
        "void": "c0",
        "candidates": {"thing": ["c1", "c299"]},
        "context": {"c1": ["dark"], "c299": ["bright"]},
    }
    path = tmp_path / "many.yaml"
    path.write_text(yaml.safe_dump(content))
    made = engine(str(path), {"c1": ROAD_COLOR, "c299": SKY_COLOR})
    found = [aligned(made, np.zeros((4, 4), np.uint8), c).labels for c in (ROAD_COLOR, SKY_COLOR)]
    assert [labels[0, 0] for labels in found] == [1, 299]
    assert {labels.dtype for labels in found} == {np.dtype(np.uint16)}


def test_exact_and_fast_crops_give_the_same_labels():
    taxonomy_colors = {"Road": ROAD_COLOR, "Water": SKY_COLOR}
    source = np.zeros((16, 16), np.uint8)
    for color, wanted in ((ROAD_COLOR, 13), (SKY_COLOR, 31)):
        for crops in ("exact", "fast"):
            made = engine("mapillary_v5", taxonomy_colors, crops=crops)
            assert (aligned(made, source, color).labels == wanted).all()
