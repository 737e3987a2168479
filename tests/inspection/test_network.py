"""Classes of network, trainer, metric and data sets."""

from pathlib import Path

import pytest

from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.findings import Level
from mmseg_uda.inspection import inspect_config

ROOT = Path(__file__).parents[2]


def told(config):
    return [(f.level, str(f)) for f in inspect_config(config)]


HEADS = {
    "decode_head": dict(num_classes=19),
    "auxiliary_head": [dict(num_classes=2), dict(num_classes=5)],
    "segmentor": dict(decode_head=dict(single=dict(num_classes=7))),
}


class TestHeads:
    """``model``."""

    @pytest.mark.parametrize(
        ("part", "key"),
        [
            ("decode_head", "model.decode_head.num_classes=19"),
            ("auxiliary_head", "model.auxiliary_head[1].num_classes=5"),
            ("segmentor", "model.segmentor.decode_head.single.num_classes=7"),
        ],
    )
    def test_another_number_of_classes(self, world, part, key):
        config = world.config()
        config["model"][part] = HEADS[part]
        ((level, text),) = told(config)
        assert level is Level.PROBLEM and key in text
        assert "taxonomy 'two' of train_dataloader.dataset.source has 2 classes" in text

    def test_backbones_have_classes_of_their_own(self, world):
        config = world.config()
        config["model"]["backbone"] = dict(type="X", head=dict(num_classes=1000))
        assert told(config) == []

    @pytest.mark.parametrize(
        ("loss", "key"),
        [
            (dict(loss_decode=dict(class_weight=[1.0] * 19)), "loss_decode.class_weight has 19"),
            (dict(loss_decode=[dict(), dict(class_weight=[1.0])]), "loss_decode[1].class_weight"),
            (dict(loss_cls=dict(class_weight=[1.0, 1.0])), "Give 3 weights"),
            (dict(out_channels=1), "out_channels=1"),
        ],
    )
    def test_weights_and_outputs(self, world, loss, key):
        config = world.config()
        config["model"]["decode_head"].update(loss)
        ((level, text),) = told(config)
        assert level is Level.PROBLEM and key in text

    @pytest.mark.parametrize(
        "loss",
        [
            dict(loss_decode=dict(class_weight=[1.0, 2.0])),
            dict(loss_decode=dict(class_weight=2.0)),
            dict(loss_cls=dict(class_weight=[1.0, 1.0, 0.1])),
            dict(out_channels=2),
        ],
    )
    def test_right_ones(self, world, loss):
        config = world.config()
        config["model"]["decode_head"].update(loss)
        assert told(config) == []

    @pytest.mark.parametrize(
        ("part", "option"), [("decode_head", "ignore_index"), ("data_preprocessor", "seg_pad_val")]
    )
    def test_the_ignored_id(self, world, part, option):
        config = world.config()
        config["model"].setdefault(part, {})[option] = 0
        ((level, text),) = told(config)
        assert level is Level.PROBLEM and f"model.{part}.{option} is 0" in text


@pytest.mark.parametrize("place", ["model", None])
def test_normalisation_of_other_images(world, place):
    config = world.config()
    options = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    (config["model"] if place else config)["data_preprocessor"] = options
    ((level, text),) = told(config)
    assert level is Level.WARNING and "data_preprocessor has mean=[0.485" in text
    options.update(mean=[0, 0, 0], std=[1, 1, 1])  # none
    assert told(config) == []


class TestTaxonomies:
    """One label space for all."""

    @pytest.mark.parametrize(
        ("key", "change"),
        [
            ("val_evaluator", lambda c: c["val_evaluator"].pop("taxonomy")),
            ("val_evaluator[0]", lambda c: c.update(val_evaluator=[dict(type="StreamingIoU")])),
            ("uda", lambda c: c["uda"].update(taxonomy="cityscapes19")),
        ],
    )
    def test_another_number(self, world, key, change):
        config = world.config()
        change(config)
        ((level, text),) = told(config)
        assert level is Level.PROBLEM
        assert f"{key}.taxonomy 'cityscapes19' has 19 classes, 'two' of" in text

    def test_a_validation_set_in_another_one(self, world):
        config = world.config(val=dict(taxonomy="cityscapes19"))
        del config["val_evaluator"]
        ((_, text),) = told(config)
        assert "val_dataloader.dataset.taxonomy 'cityscapes19' has 19 classes" in text

    def test_other_names(self, world):
        path = world.root / "named.yaml"
        path.write_text((world.root / "two.yaml").read_text().replace("box", "crate"))
        config = world.config()
        config["val_evaluator"]["taxonomy"] = str(path)
        ((level, text),) = told(config)
        assert level is Level.WARNING and "class 1 is 'crate'" in text and "'box'" in text


def test_published_configs_are_sound():
    paths = sorted((ROOT / "configs").glob("[!_]*/*.py"))
    assert len(paths) > 30
    assert {path.name: told(plain_config(path)) for path in paths} == {p.name: [] for p in paths}
