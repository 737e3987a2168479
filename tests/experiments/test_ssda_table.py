"""Experiments 411 and 412, and the final configs of SSDA."""

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.methods.ssda import DynamicSubdomains
from mmseg_uda.self_training import SelfTraining

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FINAL = sorted((CONFIGS / "ssda").glob("*.py"))
HOST = "gtaHR2csHR_1024x1024_dacs_a999_fdthings{}_rcs001-20_cpl2_hrda1-512-01-grid8_dlv2red_"
NAME = f"{HOST}r101v1c_poly10warm_s0"


def jobs(tables, number, tmp_path, seed=0):
    """Resolved configs of a table's rows by label."""
    experiment = find_experiment(tables, number)
    planned = plan(experiment, experiment.jobs(seeds=[seed]), Options(work_dir=tmp_path))
    return {one.job.row.label: one.resolved for one in planned}


@pytest.fixture(scope="module")
def rows(tables, tmp_path_factory):
    return jobs(tables, 411, tmp_path_factory.mktemp("work"))


def test_names(tables):
    experiment = find_experiment(tables, 411)
    assert [job.name for job in experiment.jobs(seeds=[0])] == [
        NAME.format(tag)
        for tag in (
            "",
            "_ssda_released",
            "_ssda",
            "_ssda_crf_loss_weight0",
            "_ssda_seed_loss_weight0_branch_seed_lossF",
            "_ssda_quotaconstant",
        )
    ]
    assert len(experiment.jobs()) == 18
    assert len({job.name for job in find_experiment(tables, 412).jobs()}) == 33


def test_the_single_published_number(tables):
    rows = find_experiment(tables, 411).rows
    reported = {row.label: row.reported for row in rows if row.reported is not None}
    assert list(reported) == ["SSDA, as released"]
    assert reported["SSDA, as released"].values == {"mIoU": 64.4}
    assert "seed 1" in reported["SSDA, as released"].origin


def test_released_preset_is_the_released_config():
    """The published options, value by value."""
    config = plain_config(CONFIGS / "ssda" / "gtaHR2csHR_ssda_released_hrda_dlv2.py")
    model, head, uda = config["model"], config["model"]["decode_head"], config["uda"]
    assert (model["type"], head["type"]) == ("HRDAEncoderDecoder", "HRDAHead")
    assert head["single_scale_head"] == "DLV2Head"
    assert sorted(model["scales"]) == [0.5, 1]
    assert head["attention_classwise"] is True
    assert (head["hr_loss_weight"], head.get("lr_loss_weight", 0)) == (0.1, 0)
    assert tuple(model["hr_crop_size"]) == (512, 512)
    assert (model["feature_scale"], model["crop_coord_divisible"]) == (0.5, 8)
    assert model["hr_slide_inference"] is True
    backbone = model["backbone"]
    assert (backbone["type"], backbone["depth"]) == ("ResNetV1c", 101)
    assert backbone["init_cfg"]["checkpoint"] == "resnet101_v1c"
    assert tuple(backbone["strides"]) == (1, 2, 1, 1)
    assert tuple(backbone["dilations"]) == (1, 1, 2, 4)
    assert backbone["contract_dilation"] is True and backbone["norm_eval"] is False
    assert backbone["norm_cfg"] == {"type": "BN", "requires_grad": True}
    assert tuple(head["dilations"]) == (6, 12)
    assert (head["in_channels"], head["num_classes"], head["in_index"]) == (2048, 19, 3)
    assert head["align_corners"] is False
    assert head["loss_decode"]["loss_weight"] == 1.0
    assert (uda["type"], uda["alpha"]) == ("SelfTraining", 0.999)
    # The rest of the adaptation are the host's defaults.
    defaults = {k: v.default for k, v in inspect.signature(SelfTraining).parameters.items()}
    found = {**defaults, **uda}
    assert found["pseudo_threshold"] == 0.968
    assert (found["pseudo_weight_ignore_top"], found["pseudo_weight_ignore_bottom"]) == (0, 0)
    assert found["jitter_strength"] == 0.2
    # The released 0.2 is the probability of no jitter.
    assert found["jitter_probability"] == 0.8 and found["blur_probability"] > 0
    distance = uda["feature_distance"]
    assert distance["loss_weight"] == 0.005 and distance["min_ratio"] == 0.75
    things = ["traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "train"]
    assert distance["classes"] in (
        [6, 7, *range(11, 19)],
        [*things, "motorcycle", "bicycle"],
    )
    data = config["train_dataloader"]["dataset"]
    pipelines = {part: data[part]["pipeline"] for part in ("source", "target")}
    sizes = {part: step_of(pipe, "ResizeFields")["scale"] for part, pipe in pipelines.items()}
    assert sizes == {"source": (2560, 1440), "target": (2048, 1024)}
    crops = [step_of(pipe, "CropFields") for pipe in pipelines.values()]
    assert [tuple(crop["crop_size"]) for crop in crops] == [(1024, 1024)] * 2
    assert crops[0]["cat_max_ratio"] == 0.75 and "cat_max_ratio" not in crops[1]
    assert {step_of(pipe, "FlipFields")["prob"] for pipe in pipelines.values()} == {0.5}
    assert model["data_preprocessor"]["mean"] == [123.675, 116.28, 103.53]
    assert model["data_preprocessor"]["std"] == [58.395, 57.12, 57.375]
    rcs = {"min_pixels": 3000, "class_temp": 0.01, "min_crop_ratio": 2.0}
    assert data["rare_class_sampling"] == rcs
    assert data["target"]["crop_pseudo_margins"] == [30, 240, 30, 30]
    optimizer = config["optim_wrapper"]["optimizer"]
    assert optimizer["type"] == "AdamW" and optimizer["lr"] == 6e-5
    assert tuple(optimizer["betas"]) == (0.9, 0.999) and optimizer["weight_decay"] == 0.01
    keys = config["optim_wrapper"]["paramwise_cfg"]["custom_keys"]
    assert keys["head"] == {"lr_mult": 10.0}
    warm_up, decay = config["param_scheduler"]
    assert warm_up["start_factor"] == 1e-6 and warm_up["end"] == 1501
    assert decay["power"] == 1.0 and decay["eta_min"] == 0.0 and decay["end"] == 40001
    train = config["train_cfg"]
    assert (train["max_iters"], train["val_interval"]) == (40000, 4000)
    assert config["train_dataloader"]["batch_size"] == 2
    assert config["randomness"]["seed"] == 1
    assert config["env_cfg"]["cudnn_benchmark"] is True
    assert model["test_cfg"] == {"mode": "whole"}
    test = config["test_dataloader"]["dataset"]["pipeline"]
    assert step_of(test, "ResizeFields")["scale"] == (2048, 1024)
    subdomains = uda["subdomains"]
    assert subdomains["uncertainty"]["source"] == "none"  # two identical passes
    assert subdomains["uncertainty"]["passes"] == 2
    assert (subdomains["beta"], subdomains["min_pixels"]) == (0.1, 10)
    assert subdomains["class_prior"] == "gta_pycda" and subdomains["absent_class"] == "all"
    weights = ["seed_loss_weight", "uncertainty_loss_weight", "crf_loss_weight", "target_weight"]
    assert [subdomains[key] for key in weights] == [1.0, 1.0, 0.0, 0.01]
    crf = subdomains["crf"]
    assert [crf[k] for k in ("radius", "sigma_xy", "sigma_rgb", "weight")] == [5, 3.0, 0.005, 1.0]
    assert crf["rgb_space"] == "zscore"
    assert subdomains["weight_map"] == "mixed_alias"


def step_of(pipeline, kind):
    (found,) = [step for step in pipeline if step["type"] == kind]
    return found


def test_method_preset():
    """The third column of 2.1."""
    config = plain_config(CONFIGS / "ssda" / "gtaHR2csHR_ssda_hrda_dlv2.py")
    subdomains = config["uda"]["subdomains"]
    assert subdomains["uncertainty"]["source"] == "auto"
    assert subdomains["uncertainty"]["passes"] == 8
    weights = ["seed_loss_weight", "uncertainty_loss_weight", "crf_loss_weight", "target_weight"]
    assert [subdomains[key] for key in weights] == [1.0, 0.0, 0.1, 0.01]
    crf = subdomains["crf"]
    assert [crf[k] for k in ("radius", "sigma_xy", "sigma_rgb", "weight")] == [5, 3.0, 0.1, 1.0]
    assert (crf["rgb_space"], crf["resolution"], crf["gate"]) == ("unit", "native", "full_block")
    assert subdomains["weight_map"] == "unmixed"


def test_defaults_of_the_component_are_the_method():
    config = plain_config(CONFIGS / "ssda" / "gtaHR2csHR_ssda_hrda_dlv2.py")
    given = dict(config["uda"]["subdomains"])
    assert given.pop("type") == "DynamicSubdomains"
    built, default = DynamicSubdomains(**given), DynamicSubdomains()
    assert built.uncertainty_options == default.uncertainty_options
    assert built.crf == default.crf
    groups = dict(uncertainty=None, crf=None)
    assert replace(built.options, **groups) == replace(default.options, **groups)


@pytest.mark.parametrize(
    ("stem", "label", "seed"),
    [
        ("gtaHR2csHR_ssda_hrda_dlv2", "SSDA", 0),
        ("gtaHR2csHR_ssda_released_hrda_dlv2", "SSDA, as released", 1),
    ],
)
def test_final_configs_are_rows_of_the_table(tables, tmp_path, stem, label, seed):
    row = jobs(tables, 411, tmp_path, seed)[label]
    assert plain_config(CONFIGS / "ssda" / f"{stem}.py") == row


@pytest.mark.parametrize("path", FINAL, ids=lambda path: path.stem)
def test_final_configs_read_and_are_annotated(path):
    assert path.read_text().startswith("# SSDA")
    config = plain_config(path)
    assert config["uda"]["subdomains"]["type"] == "DynamicSubdomains"
    prior = config["uda"]["subdomains"]["class_prior"]
    assert prior == ("source_stats" if path.stem.startswith("syn") else "gta_pycda")
    assert (config["model"]["type"] == "HRDAEncoderDecoder") == ("HR2" in path.stem)


def test_there_are_two_presets_on_four_networks():
    assert len(FINAL) == 7


def test_rows_differ_in_what_they_say(rows):
    baseline = rows["HRDA (DeepLabV2)"]
    assert baseline["uda"]["subdomains"] is None
    ssda = rows["SSDA"]["uda"]["subdomains"]
    expected = {
        "SSDA, seeds only": {"crf_loss_weight": 0},
        "SSDA, CRF only": {"seed_loss_weight": 0, "branch_seed_loss": False},
        "SSDA, quota off": {"quota": "constant"},
    }
    for label, changes in expected.items():
        assert rows[label]["uda"]["subdomains"] == {**ssda, **changes}
    for label, config in rows.items():
        assert {**config, "uda": {**config["uda"], "subdomains": None}} == baseline, label


def test_the_table_of_options(tables, tmp_path, rows):
    ssda = rows["SSDA"]["uda"]["subdomains"]
    for label, config in jobs(tables, 412, tmp_path).items():
        found = config["uda"]["subdomains"]
        assert found != ssda, label
    crf = jobs(tables, 412, tmp_path)["SSDA, R 2"]["uda"]["subdomains"]["crf"]
    assert crf == {**ssda["crf"], "radius": 2}


@pytest.mark.parametrize("profile", ["paper", "mini"])
def test_dry_run(command, profile):
    status, output = command("--exp", "411", "--profile", profile, "--dry-run")
    assert status == 0
    assert "64.4" in output and "SSDA, quota off" in output


def test_inference_of_whole_images(rows):
    assert {label: c["model"]["test_cfg"]["mode"] for label, c in rows.items()} == dict.fromkeys(
        rows, "whole"
    )
