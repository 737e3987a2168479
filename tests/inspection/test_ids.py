"""Ids of labels that cannot be what taxonomy and label map take them for."""

import io

import numpy as np
import pytest
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Level
from mmseg_uda.inspection import IdSpace, judge_ids
from mmseg_uda.taxonomy import load_taxonomy


def test_a_sound_world_is_silent(world):
    assert world.told() == []


class TestMasks:
    """Two classes, 255 or another grey level for the second."""

    @pytest.mark.parametrize("part", ["src", "val"])
    def test_255_is_the_ignored_id(self, world, part):
        world.labels(part, lambda ids: ids * 255)
        world.only(Level.WARNING, f"{part}/images", "pixel of box", "label_map={255: 1}")

    def test_a_label_map_answers_it(self, world):
        world.labels("src", lambda ids: ids * 255)
        assert world.told(source=dict(label_map={255: 1})) == []

    def test_other_grey_levels_are_outside(self, world):
        world.labels("src", lambda ids: ids * 200)
        world.only(Level.PROBLEM, "0.png holds id 200", "label_map={0: 0, 200: 1}")

    def test_three_grey_levels(self, world):
        world.labels("src", lambda ids: np.vstack([ids[:-1] * 255, ids[-1:] + 128]))
        world.only(Level.PROBLEM, "holds id 128", "label_map={128: 255, 255: 1}")

    def test_two_customs_in_one_folder(self, world):
        for number in (1, 4):
            path = world.path("src", "labels", number)
            Image.fromarray(np.asarray(Image.open(path)) * 255).save(path)
        world.only(Level.WARNING, "2 of 6 labels hold 0 and 255", "1.png", "label_map={255: 1}")

    def test_ignored_borders_are_no_custom(self, world):
        world.labels("src", lambda ids: np.vstack([ids[:-1], ids[-1:] + 255]))
        assert world.told() == []

    def test_bits_are_ids(self, world):
        world.labels("src", lambda ids: Image.fromarray(ids > 0))
        assert world.told() == []


@pytest.mark.parametrize("absent", [None, 4])
def test_camvids_unlabelled_id_names_its_label_map(absent):
    counts = {i: 5 for i in range(12) if i != absent}
    labels = {f"{n}.png": counts for n in range(3)}
    (found,) = judge_ids(IdSpace("CamVid", load_taxonomy("camvid11")), labels, 3)
    assert found.level is Level.PROBLEM and "label_map='camvid'" in found.fix
    (other,) = judge_ids(IdSpace("CamVid", load_taxonomy("camvid11"), "camvid"), {"a": {31: 9}}, 3)
    assert "labels of that data set and release" in other.fix


class TestShifted:
    """Classes that are counted from one."""

    def test_both_readings_are_offered(self, world):
        world.labels("src", lambda ids: np.vstack([ids[:-1] + 1, ids[-1:]]))
        maps = ("label_map={2: 255}", "label_map={0: 255, 1: 0, 2: 1}")
        world.only(Level.PROBLEM, "holds id 2", *maps)


def test_a_single_odd_label_is_found(world):
    world.label("src", 4, np.full((12, 20), 77, np.uint8))
    world.only(Level.PROBLEM, "1 of 6 labels", "4.png holds id 77", "label_map={77: 255}")


def test_labels_that_were_photographs(world):
    def smeared(ids):
        data = io.BytesIO()
        Image.fromarray(ids * 200).save(data, "JPEG", quality=50)
        return np.asarray(Image.open(data))

    world.labels("src", smeared)
    world.only(Level.PROBLEM, "saved as JPEG")


def test_ids_of_a_jpeg_are_not_those_of_another_release():
    space = IdSpace("x", load_taxonomy("cityscapes19"), "cityscapes")
    (found,) = judge_ids(space, {"labels/a.JPG": {7: 9, 120: 1}}, 1)
    assert found.fix == "Export the labels as PNG: JPEG changes ids along borders."


class TestAbsent:
    """Classes without a pixel, labels without a class."""

    def test_a_class_is_named(self, world):
        world.labels("src", lambda ids: ids * 0)
        world.only(Level.WARNING, "none of the 6 labels has a pixel of box")

    def test_of_evaluation_sets_only_what_makes_a_score_worthless(self):
        space = IdSpace("x", load_taxonomy("cityscapes19"), trains=False)
        assert judge_ids(space, {"a": {0: 5, 1: 5}}, 1) == []

    def test_nothing_is_said_about_classes_that_other_files_may_hold(self):
        space = IdSpace("x", load_taxonomy("cityscapes19"))
        assert judge_ids(space, {"a": {0: 5, 1: 5}}, 2) == []
        (finding,) = judge_ids(space, {"a": {0: 5, 1: 5}, "b": {2: 3}}, 2)
        assert "train, motorcycle, bicycle" in finding.message and "road" not in finding.message

    def test_classes_that_a_published_data_set_does_not_have_are_known(self):
        everything = {i: 9 for i in range(19) if i not in (9, 14, 16)}
        cityscapes = load_taxonomy("cityscapes19")
        assert judge_ids(IdSpace("x", cityscapes, type="SYNTHIA"), {"a": everything}, 1) == []
        gta16 = IdSpace("x", cityscapes, "gta16", "GTA")
        assert judge_ids(gta16, {"a": {**everything, 14: 3}}, 1) == []
        (finding,) = judge_ids(IdSpace("x", cityscapes, type="GTA"), {"a": everything}, 1)
        assert finding.details["absent"] == ["terrain", "truck", "train"]

    def test_no_class_at_all(self, world):
        unlabelled = dict(label_map={0: 255, 1: 255})
        world.only(Level.WARNING, "none of the 6 labels", "any class", source=unlabelled)
        world.labels("val", lambda ids: ids * 0 + 255)
        assert any("none of the 3 labels has a pixel of any class" in t for _, t in world.told())

    def test_a_label_without_a_class(self, world):
        world.label("src", 2, np.full((12, 20), 255, np.uint8))
        world.only(Level.WARNING, "1 of 6 labels hold no labelled pixel", "2.png")

    def test_one_such_label_of_many_is_nothing_to_speak_of(self):
        labels = {str(i): {0: 1, 1: 1} for i in range(99)} | {"x": {255: 9}}
        space = IdSpace("x", load_taxonomy("cityscapes19"), trains=False)
        assert judge_ids(space, labels, 100) == []


class TestRawMaps:
    """``label_map`` as the name of a raw id map."""

    def test_ids_that_the_release_does_not_have(self):
        space = IdSpace("x", load_taxonomy("cityscapes19"), "mapillary12")
        (finding,) = judge_ids(space, {"l.png": {13: 5, 105: 1}}, 1)
        assert finding.level is Level.PROBLEM
        assert "l.png holds id 105" in finding.message and "mapillary12 (0..65)" in finding.message
        assert "Mapillary Vistas 2.0" in finding.fix

    def test_release_2_in_the_own_taxonomy_of_release_1(self):
        space = IdSpace("x", load_taxonomy("mapillary66"))
        (finding,) = judge_ids(space, {"l.png": {0: 5, 99: 1}}, 1)
        assert "Mapillary Vistas 2.0" in finding.fix

    @pytest.mark.parametrize("name", ["cityscapes", "gta", "synthia"])
    def test_train_ids_are_recognised(self, name):
        space = IdSpace("x", load_taxonomy("cityscapes19"), name, trains=False)
        (finding,) = judge_ids(space, {"l.png": {0: 5, 3: 5, 18: 4, 255: 1}}, 1)
        assert "look like trainIds" in finding.message
        assert judge_ids(space, {"l.png": {0: 5, 7: 5, 21: 4}}, 1) == []

    def test_label_ids_read_as_train_ids_get_the_maps_that_fit(self):
        space = IdSpace("x", load_taxonomy("cityscapes19"))
        (finding,) = judge_ids(space, {"l.png": {7: 5, 26: 5}}, 1)
        assert "label_map='cityscapes' or 'gta'" in finding.fix

    def test_ids_that_an_own_map_does_not_list_are_told(self, world):
        path = world.root / "two.yaml"
        path.write_text(path.read_text() + "raw_ids: {mine: {0: 0, 1: 1}}\n")
        world.label("src", 3, np.full((12, 20), 9, np.uint8))
        found = world.told(source=dict(label_map="mine"))
        assert [(level, "ids 9 in 1 of 6 labels" in text) for level, text in found] == [
            (Level.WARNING, True),
            (Level.WARNING, False),  # the label has no class, either
        ]
        path.write_text(path.read_text() + "raw_id_ends: {mine: 1}\n")
        world.only(Level.PROBLEM, "no ids of mine (0..1)", source=dict(label_map="mine"))


class TestPalettes:
    """Colours of a palette against the classes that its indices stand for."""

    def paletted(self, colours):
        def change(ids):
            image = Image.fromarray(ids)
            image.putpalette([value for colour in colours for value in colour])
            return image

        return change

    def test_an_order_that_is_not_that_of_the_ids(self, world):
        world.labels("src", self.paletted([(0, 0, 142), (128, 64, 128)]))
        world.only(Level.WARNING, "0.png", "id 0 has the palette's colour of 'box'", "{0: 1, 1: 0}")

    @pytest.mark.parametrize(
        "colours", [[(128, 64, 128), (0, 0, 142)], [(0, 0, 0), (255, 255, 255)]]
    )
    def test_its_own_or_foreign_colours(self, world, colours):
        world.labels("src", self.paletted(colours))
        assert world.told() == []


@pytest.mark.parametrize("label_map", ["nope", {0: 300}, {"a": 1}])
def test_a_wrong_label_map_is_a_problem(world, label_map):
    ((level, text),) = world.told(source=dict(label_map=label_map))
    assert level is Level.PROBLEM and "abel map" in text


def test_a_training_that_counts_its_classes_tells_the_same(world, caplog):
    """Rare class sampling knows all labels, however many there are."""
    from mmengine.logging import MMLogger

    from mmseg_uda.datasets import TaxonomyDataset, class_pixel_counts

    world.labels("src", lambda ids: ids * 255)
    logger = MMLogger.get_instance("ids", logger_name="ids")
    logger.addHandler(caplog.handler)
    options = {k: v for k, v in world.data("src").items() if k != "type"}
    class_pixel_counts(TaxonomyDataset(**options))
    (told,) = [r.getMessage() for r in caplog.records if "box" in r.getMessage()]
    assert told == world.told()[0][1]

    world.label("src", 0, np.full((12, 20), 9, np.uint8))
    with pytest.raises(UserError, match=r"0\.png holds id 9"):
        class_pixel_counts(TaxonomyDataset(**options))
    counts = class_pixel_counts(TaxonomyDataset(**options, label_map={9: 1, 255: 1}))
    assert counts[:, 1].tolist() == [240, *[20] * 5]
