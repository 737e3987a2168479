from dataclasses import replace
from itertools import groupby

import pytest
from mmengine.config import Config

from mmseg_uda.cfg_options import TOP_LEVEL
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.configs import literal, plain_config
from mmseg_uda.experiments.grid import Base, Experiment, Row
from mmseg_uda.experiments.plan import Options, plan


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
    # The hosts' tables and those from 500 on train in other ways and have tests of their own.
    rows = {number: len(list(group)) for number, group in groupby(planned, key=lambda key: key[0])}
    assert {90: 6, 91: 5, 92: 1, 93: 4, 94: 4, 300: 6, 301: 6, 302: 6}.items() <= rows.items()
    shared = {number for number in rows if 90 <= number < 500} - {100, 101}
    for number, one in ((number, one) for (number, _), one in planned.items() if number in shared):
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
    assert config["uda"]["relabel"] is None
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
    assert config["uda"]["feature_distance"] is None
    assert config["uda"]["pseudo_weight_ignore_top"] == 0
    assert config["uda"]["pseudo_weight_ignore_bottom"] == 0
    assert config["train_dataloader"]["dataset"]["rare_class_sampling"] is None
    # CSI's DeepLabV2 runs keep the average over all pixels
    assert config["model"]["decode_head"]["loss_decode"]["avg_non_ignore"] is False


def test_gta16_is_a_remap_of_gta(planned):
    source = planned[93, 1].resolved["train_dataloader"]["dataset"]["source"]
    assert (source["type"], source["label_map"]) == ("GTA", "gta16")


def test_a_jobs_config_stands_alone_and_says_what_it_changes(planned):
    text = planned[90, 5].text
    assert "_base_ =" not in text
    assert text.startswith(
        "# CSI Table 1, row 5: MIC\n"
        "# Made by run_experiments.py for synHR2csHR_1024x1024_dacs_a999_fdthings_rcs001-20_cpl2_"
        "m64-07-sep_hrda1-512-01_daformer_sepaspp_sl_mitb5_poly10warm_rl_-1_to_-1_s1; "
        "do not edit.\n"
        "# configs/csi/synHR2csHR_csi_mic.py with\n"
        "#   uda.relabel = None\n"
    )
    assert set(planned[90, 5].resolved) <= TOP_LEVEL


def test_changes_merge_replace_and_switch_off():
    row = Row(
        "",
        "mic/gtaHR2csHR_mic_hrda",
        {
            "uda.masking": {"mask_ratio": 0.5},
            "uda.feature_distance": None,
            "model": Base("networks/segformer_mitb5", "model"),
            "model.backbone.drop_path_rate": 0.2,
            "train_dataloader.dataset.source.pipeline.3.crop_size": (512, 512),
            "uda.diagnosis.type": "PseudoLabelQuality",
        },
    )
    before = plain_config(row.config)
    config = row.resolved
    assert config["uda"]["masking"] == {**before["uda"]["masking"], "mask_ratio": 0.5}
    assert config["uda"]["feature_distance"] is None
    assert config["uda"]["diagnosis"] == {"type": "PseudoLabelQuality"}
    assert config["model"]["decode_head"]["type"] == "SegFormerHead"
    assert config["model"]["backbone"]["drop_path_rate"] == 0.2
    assert "hr_crop_size" not in config["model"] and "_delete_" not in config["model"]
    source, old = (one["train_dataloader"]["dataset"]["source"] for one in (config, before))
    assert source["pipeline"][3] == {**old["pipeline"][3], "crop_size": (512, 512)}
    assert "_delete_" not in repr(config)


@pytest.mark.parametrize(
    ("config", "changes", "message", "fix"),
    [
        ("mic/gtaHR2csHR_mic", {}, "no config mic/gtaHR2csHR_mic", "gtaHR2csHR_mic_hrda.py"),
        ("hrda/gtaHR2csHR_hrda", {"uda.alpha.x": 1}, "Row 'mine': uda.alpha.x does not fit", ""),
        (
            "hrda/gtaHR2csHR_hrda",
            {"train_dataloader.dataset.source.pipeline.9.prob": 1},
            "pipeline.9.prob does not fit",
            "",
        ),
        (
            "hrda/gtaHR2csHR_hrda",
            {"uda.masking": Base("methods/mic", "mik")},
            "mic.py has no 'mik'",
            "mic, mic_separate",
        ),
        (
            "hrda/gtaHR2csHR_hrda",
            {"model": Base("networks/segformer_mitb6", "model")},
            "no config",
            "segformer_mitb5.py",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_named(config, changes, message, fix):
    with pytest.raises(UserError) as error:
        assert Row("mine", config, changes).resolved
    assert message in error.value.message
    assert fix in (error.value.fix or "")


def test_two_rows_of_one_name_are_refused(tmp_path):
    mic = "mic/gtaHR2csHR_mic_hrda"
    rows = (Row("MIC", mic), Row("dropped paths", mic, {"model.backbone.drop_path_rate": 0.2}))
    table = Experiment(700, "ours", "1", "MIC with other options", rows)
    options = Options(work_dir=tmp_path)
    with pytest.raises(UserError, match="Rows 1 and 2 of experiment 700") as error:
        plan(table, table.jobs(seeds=[0]), options)
    assert "name='...'" in error.value.fix
    named = replace(table, rows=(rows[0], replace(rows[1], name="droppath")))
    names = [one.job.name for one in plan(named, named.jobs(seeds=[0]), options)]
    assert names[1] == "droppath_s0" and names[0].startswith("gtaHR2csHR_")


def test_literals_keep_values_exact():
    value = {"a": (1,), "b-c": [None, {"d": 6e-5}], "t": ((1, 2), "x" * 100), "i": float("inf")}
    assert eval(literal(value), {"__builtins__": {"dict": dict, "float": float}}) == value
