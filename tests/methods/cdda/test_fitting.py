"""Banks and hosts that do not fit are refused before the training."""

import pytest
from depth_world import SIDE, halves, pair, write_bank, write_world
from nano import nano_config

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import SelfTraining


def fit(bank, num_classes=19, size=(SIDE, SIDE), data=None, taxonomy=None, **options):
    depth = dict(type="DepthSimilarity", bank=str(bank), **options)
    host = SelfTraining(nano_config(num_classes, size=size), depth=depth, taxonomy=taxonomy)
    host.components["depth"].before_training(host, data)


def test_banks_that_do_not_fit_are_refused_before_the_training(bank, tmp_path):
    fit(bank)
    with pytest.raises(UserError, match="it has 19 classes, the segmentor 5"):
        fit(bank, num_classes=5)
    with pytest.raises(UserError, match="its crops have 16x16 pixels, those of the training 32x32"):
        fit(bank, size=(32, 32))
    with pytest.raises(UserError, match=r"it has 3 entries, uda\.depth\.build\.count is 7"):
        fit(bank, build=dict(count=7))
    with pytest.raises(UserError, match="no bank of source crops in"):
        fit(tmp_path / "elsewhere")


def test_a_bank_with_missing_crops_serves_only_without_pasting(tmp_path):
    folder = write_bank(tmp_path / "bank", [halves(0, 13)], [halves(20, 200)])
    (folder / "images/0.png").unlink()
    with pytest.raises(UserError, match=r"1 of its files are missing, the first is images/0\.png"):
        fit(folder)
    fit(folder, replace_source=False)


def test_other_class_names_are_refused(tmp_path):
    world = write_world(tmp_path, frames=2)
    from mmseg_uda.methods.cdda import build_bank
    from mmseg_uda.methods.cdda.drawing import draws_of_training

    folder = build_bank(draws_of_training(pair(world), count=2), tmp_path / "bank", workers=0)
    text = (folder / "meta.json").read_text().replace('"car"', '"boat"')
    (folder / "meta.json").write_text(text)
    with pytest.raises(UserError, match="its class 13 is boat, that of uda.taxonomy car"):
        fit(folder, size=(32, 32), taxonomy="cityscapes19")


def test_another_remap_of_the_target_is_refused(tmp_path):
    from depth_world import TARGET_STEPS, pair_config
    from mmseg.registry import DATASETS

    world = write_world(tmp_path, frames=2)
    config = pair_config(world)
    bank = tmp_path / "bank"
    fit(bank, size=(32, 32), data=DATASETS.build(config), build=dict(count=2, workers=0))
    config["target"]["pipeline"] = [
        dict(s, remap="linear") if s["type"] == "LoadRemappedDepth" else s for s in TARGET_STEPS
    ]
    linear = DATASETS.build(config)
    with pytest.raises(UserError, match="remapped by exp .* that of the target is by linear"):
        fit(bank, size=(32, 32), data=linear)
    config["target"]["pipeline"] = [
        dict(s, dtype="uint8") if s["type"] == "LoadRemappedDepth" else s for s in TARGET_STEPS
    ]
    truncated = DATASETS.build(config)
    fit(bank, size=(32, 32), data=truncated)
    with pytest.raises(UserError, match=r"guidance_trigger='last'.*dtype='uint8'"):
        fit(bank, size=(32, 32), data=truncated, guidance_trigger="last")


def test_a_host_without_pseudo_labels_is_refused(bank):
    with pytest.raises(UserError, match="source_only=True leaves uda.depth without"):
        SelfTraining(
            nano_config(19),
            source_only=True,
            depth=dict(type="DepthSimilarity", bank=str(bank)),
        )
