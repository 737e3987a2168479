from dataclasses import replace
from itertools import groupby

import pytest
from mmengine.config import Config

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.configs import job_config, literal, overrides
from mmseg_uda.experiments.grid import Masking, Setup, find_experiment
from mmseg_uda.experiments.plan import Options, plan


def resolve(setup, folder):
    path = folder / "job.py"
    path.write_text(job_config(setup, folder))
    return Config.fromfile(str(path), import_custom_modules=False).to_dict()


@pytest.fixture(scope="module")
def planned(tables, tmp_path_factory):
    """Every row of every table with seed 1, resolved."""
    options = Options(work_dir=tmp_path_factory.mktemp("work"))
    return {
        (experiment.id, one.job.row_number): one
        for experiment in tables
        for one in plan(experiment, experiment.jobs(seeds=[1]), options)
    }


def test_every_config_of_a_self_training_table_parses_and_names_its_parts(planned):
    # The tables from 500 on train in other ways and have tests of their own.
    rows = {number: len(list(group)) for number, group in groupby(planned, key=lambda key: key[0])}
    assert {90: 6, 91: 5, 92: 1, 93: 4, 94: 4, 300: 6, 301: 6, 302: 6}.items() <= rows.items()
    for number, one in ((number, one) for (number, _), one in planned.items() if number < 500):
        config, csi = one.resolved, number < 100
        assert config["randomness"]["seed"] == 1
        assert config["uda"]["type"] == "SelfTraining"
        assert config["train_cfg"]["max_iters"] == 40000
        # 10 validations in CSI's and SSDA's runs (ids from 411 on), 40 in the others.
        assert config["train_cfg"]["val_interval"] == (4000 if csi or number >= 411 else 1000)
        assert config["train_dataloader"]["batch_size"] == 2
        assert {"backbone", "decode_head"} <= set(config["model"])
        # CSI's curve: the base rate is reached at 1500, 0 at 40000; mmengine ends a step earlier
        ends = [1500, 40000] if csi else [1501, 40001]
        assert [s["end"] for s in config["param_scheduler"]] == ends


def test_a_written_config_reads_as_it_was_planned(planned, tmp_path):
    one = planned[90, 6]
    one.write()
    read = Config.fromfile(str(one.config_path), import_custom_modules=False).to_dict()
    assert read == one.resolved


def test_daformer_row(planned):
    config = planned[90, 1].resolved
    assert config["model"]["decode_head"]["loss_decode"]["avg_non_ignore"] is True
    assert config["model"]["test_cfg"]["mode"] == "whole"
    assert config["uda"]["alpha"] == 0.999
    assert config["uda"]["pseudo_weight_ignore_top"] == 15
    assert config["uda"]["pseudo_weight_ignore_bottom"] == 120
    assert "masking" not in config["uda"]
    assert "relabel" not in config["uda"]
    data = config["train_dataloader"]["dataset"]
    assert data["rare_class_sampling"] == {
        "min_pixels": 3000,
        "class_temp": 0.01,
        "min_crop_ratio": 0.5,
    }
    assert "crop_pseudo_margins" not in data["target"]


def test_mic_and_csi_row(planned):
    config = planned[90, 6].resolved
    model = config["model"]
    assert model["type"] == "HRDAEncoderDecoder"
    assert model["hr_crop_size"] == (512, 512)
    assert model["data_preprocessor"]["size"] == (1024, 1024)
    assert model["decode_head"]["hr_loss_weight"] == 0.1
    assert model["test_cfg"] == {
        "mode": "slide",
        "batched_slide": True,
        "crop_size": (1024, 1024),
        "stride": (512, 512),
    }
    assert config["uda"]["masking"] == {
        "type": "MaskedConsistency",
        "mode": "separate",
        "mask_ratio": 0.7,
        "block_size": 64,
        "loss_weight": 1,
        "alpha": "same",
        "pseudo_threshold": "same",
    }
    relabel = config["uda"]["relabel"]
    assert relabel["collect"] == (7999, 11999)
    assert relabel["relabel"] == (11999, 39999)
    assert [(m["target"], m["source"]) for m in relabel["mapping"]] == [
        ("terrain", "vegetation"),
        ("truck", "car"),
        ("train", None),
    ]
    assert "pseudo_weight_ignore_top" not in config["uda"]
    data = config["train_dataloader"]["dataset"]
    assert data["rare_class_sampling"]["min_crop_ratio"] == 2.0
    assert data["target"]["crop_pseudo_margins"] == [30, 240, 30, 30]


def test_plain_dacs_has_neither_margins_nor_rare_class_sampling(planned):
    config = planned[91, 1].resolved
    assert config["uda"]["alpha"] == 0.99
    assert "feature_distance" not in config["uda"]
    assert "pseudo_weight_ignore_top" not in config["uda"]
    assert "rare_class_sampling" not in config["train_dataloader"]["dataset"]
    # CSI's DeepLabV2 runs keep the average over all pixels
    assert config["model"]["decode_head"]["loss_decode"]["avg_non_ignore"] is False


def test_gta16_is_a_remap_of_gta(planned):
    source = planned[93, 1].resolved["train_dataloader"]["dataset"]["source"]
    assert (source["type"], source["label_map"]) == ("GTA", "gta16")


def test_the_core_recipe_keeps_daformers_curve_and_average(tmp_path):
    setup = Setup(uda="dacs_a999_fdthings", rcs_temperature=0.01, margins="v1")
    config = resolve(setup, tmp_path)
    assert [s["end"] for s in config["param_scheduler"]] == [1501, 40001]
    assert config["model"]["decode_head"]["loss_decode"]["avg_non_ignore"] is False


@pytest.mark.parametrize(
    ("architecture", "model", "head"),
    [
        (
            "hrda1-512-0-fixedatt-nooverlap",
            {"hr_slide_overlapping": False},
            {"fixed_attention": 0.5},
        ),
        ("hrda1-512-0.1-singleatt", {}, {"attention_classwise": False}),
        ("hrda1-512-0.1-blurhr", {"blur_hr_crop": True}, {}),
        ("hrda1-256-0.1-samescale", {"scales": [1, 1], "feature_scale": 1}, {}),
        ("hrda1-512-0.1-sc0.75", {"scales": [1, 0.75], "feature_scale": 0.75}, {}),
        ("hrda1-1024-0.2", {"feature_scale": "all"}, {"lr_loss_weight": 0.2}),
    ],
)
def test_hrda_options_of_the_name(architecture, model, head):
    setup = Setup(
        source="gtaHR",
        target="cityscapesHR",
        crop="1024x1024",
        uda="dacs_a999_fdthings",
        architecture=f"{architecture}_daformer_sepaspp",
    )
    config = overrides(setup)["model"]
    assert model.items() <= config.items()
    assert head.items() <= config["decode_head"].items()


@pytest.mark.parametrize(
    ("crop", "sync", "architecture", "size", "slide"),
    [
        ("512x512", None, "daformer_sepaspp", (512, 512), (512, 512)),
        ("512x512", (256, 384), "daformer_sepaspp", (256, 384), (256, 384)),
        ("1024x1024", None, "hrda1-512-0.1_daformer_sepaspp", (1024, 1024), (1024, 1024)),
        ("1024x1024", (512, 512), "hrda1-512-0.1_daformer_sepaspp", (512, 512), (512, 512)),
        ("512x512", None, "hrda1-256-0.1_daformer_sepaspp", (512, 512), (512, 512)),
    ],
)
def test_nothing_is_padded_beyond_the_crop_that_the_network_sees(
    tmp_path, crop, sync, architecture, size, slide
):
    high = "HR" if crop == "1024x1024" else ""
    setup = Setup(
        source=f"gta{high}",
        target=f"cityscapes{high}",
        crop=crop,
        sync_crop=sync,
        architecture=architecture,
        inference="slide",
    )
    config = resolve(setup, tmp_path)
    assert tuple(config["model"]["data_preprocessor"]["size"]) == size
    assert config["model"]["test_cfg"]["crop_size"] == slide
    assert config["train_dataloader"]["dataset"].get("sync_crop_size") == sync
    if sync == (512, 512):  # the detail crop is all there is
        assert config["model"]["decode_head"]["lr_loss_weight"] == 0.1


def test_an_unknown_hrda_option_is_named():
    with pytest.raises(UserError, match="'upsidedown'"):
        overrides(Setup(architecture="hrda1-512-0.1-upsidedown_daformer_sepaspp"))


def test_a_missing_base_file_is_named(tmp_path):
    with pytest.raises(UserError, match="models/nosuchnet_mitb5.py"):
        job_config(Setup(architecture="nosuchnet"), tmp_path)


def test_own_teacher_of_the_masking(tmp_path):
    setup = Setup(masking=Masking("separatetrgaug", 0.7, 32, alpha=0, threshold=None))
    masking = resolve(setup, tmp_path)["uda"]["masking"]
    assert (masking["alpha"], masking["pseudo_threshold"]) == (0, None)


def test_configs_work_outside_the_repository_and_keep_values_exact(tmp_path):
    config = resolve(replace(Setup(), rcs_temperature=float("inf")), tmp_path)
    assert config["train_dataloader"]["dataset"]["rare_class_sampling"]["class_temp"] == float(
        "inf"
    )
    value = {"a": (1,), "b-c": [None, {"d": 6e-5}], "t": ((1, 2), "x" * 100)}
    assert eval(literal(value), {"__builtins__": {"dict": dict, "float": float}}) == value


def test_tables_of_other_papers_are_only_rows(tables):
    """A row outside 90-94 needs no code: HRDA's final row on GTA, in the core recipe."""
    hrda = find_experiment(tables, 90).rows[2].setup
    row = replace(hrda, source="gtaHR", relabelling=None, recipe="core")
    assert overrides(row)["model"]["decode_head"] == {"hr_loss_weight": 0.1}
