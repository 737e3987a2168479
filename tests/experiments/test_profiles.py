from copy import deepcopy

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import profiles, variants
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan


@pytest.fixture(scope="module")
def paper(tables, tmp_path_factory):
    """Resolved configs of experiment 90 by row."""
    experiment = find_experiment(tables, 90)
    options = Options(work_dir=tmp_path_factory.mktemp("work"))
    return [one.resolved for one in plan(experiment, experiment.jobs(seeds=[0]), options)]


def types_inside(value, found):
    if isinstance(value, dict):
        found.append(value)
        for item in value.values():
            types_inside(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            types_inside(item, found)
    return found


def test_the_profile_leaves_its_argument_alone(paper):
    before = deepcopy(paper[5])
    profiles.mini(paper[5])
    assert paper[5] == before


def test_every_size_is_an_eighth_of_the_papers(paper):
    for row, config in enumerate(map(profiles.mini, paper)):
        half = row < 2  # DAFormer's rows; HRDA and MIC see the whole resolution
        size, crop = ((128, 64), (64, 64)) if half else ((256, 128), (128, 128))
        for item in types_inside(config, []):
            if item.get("type") in ("SYNTHIA", "Cityscapes"):
                assert item["data_root"].startswith("data/miniworld/")
            if item.get("type") == "ResizeFields":
                assert item["scale"] == size
            if item.get("type") == "CropFields":
                assert item["crop_size"] == crop
        assert config["model"]["backbone"]["type"] == "NanoBackbone"
        assert config["model"]["data_preprocessor"]["size"] == crop
        data = config["train_dataloader"]["dataset"]
        # 3000 pixels of 2048x1024, and the paper's share of them in a crop
        assert data["rare_class_sampling"]["min_pixels"] == 47
        assert data["rare_class_sampling"]["min_crop_ratio"] == (0.5 if half else 2.0)
        if half:  # of 512 rows 15 and 120
            assert config["uda"]["pseudo_weight_ignore_top"] == 2
            assert config["uda"]["pseudo_weight_ignore_bottom"] == 15
        else:  # of 1024 rows 30 and 240
            assert data["target"]["crop_pseudo_margins"] == [4, 30, 4, 4]
            assert config["model"]["hr_crop_size"] == (64, 64)
            assert config["model"]["test_cfg"]["crop_size"] == (128, 128)
            assert config["model"]["test_cfg"]["stride"] == (64, 64)
        assert config["train_cfg"]["max_iters"] == profiles.ITERATIONS
        ends = [s["end"] for s in config["param_scheduler"]]
        assert ends == [profiles.WARM_UP, profiles.ITERATIONS]


def test_the_method_stays_the_papers(paper):
    config = profiles.mini(paper[5])
    assert config["model"]["type"] == "HRDAEncoderDecoder"
    assert config["uda"]["masking"]["mode"] == "separate"
    assert config["uda"]["masking"]["mask_ratio"] == 0.7
    assert config["uda"]["masking"]["block_size"] == 8  # 64 of 1024
    relabel = config["uda"]["relabel"]
    assert relabel["mapping"] == paper[5]["uda"]["relabel"]["mapping"]
    assert relabel["collect"][1] <= relabel["relabel"][0]
    assert relabel["relabel"][1] == profiles.ITERATIONS
    assert relabel["detector"]["type"] == "ProposalDetector"
    assert config["uda"]["feature_distance"] == paper[5]["uda"]["feature_distance"]


@pytest.fixture(scope="module")
def cdda(tables, tmp_path_factory):
    """Resolved config of GTA → Cityscapes, MIC + CDDA."""
    experiment = find_experiment(tables, 301)
    options = Options(work_dir=tmp_path_factory.mktemp("work"))
    return plan(experiment, experiment.jobs([6], [0]), options)[0].resolved


def test_the_bank_belongs_to_the_world_and_thresholds_fall_during_the_run(cdda):
    config = profiles.mini(cdda)
    depth, paper = config["uda"]["depth"], cdda["uda"]["depth"]
    source = config["train_dataloader"]["dataset"]["source"]
    # inside the source's folder, which is made anew when the world changes
    assert depth["bank"].startswith(source["data_root"] + "/")
    assert depth["build"]["count"] == profiles.BANK_CROPS
    assert 0 < depth["decay_begin"] < depth["decay_end"] <= profiles.ITERATIONS
    decrements = (depth["decay_end"] - depth["decay_begin"]) / depth["decay_interval"]
    assert decrements == 30
    assert depth["bins"] == profiles.DEPTH_BINS
    for name in ("reweight_threshold", "relabel_threshold", "threshold_decay", "sim_low"):
        assert depth.get(name) == paper.get(name)
    for name in ("reweight_mask", "guidance_trigger", "replace_source"):
        assert depth.get(name) == paper.get(name)
    names = [step["type"] for step in config["train_dataloader"]["dataset"]["target"]["pipeline"]]
    assert names.index("LoadRemappedDepth") == names.index("ResizeFields") + 1


def test_startup_draws_a_small_bank_of_its_own(cdda):
    depth = variants.startup(cdda)["uda"]["depth"]
    assert depth["bank"] == cdda["uda"]["depth"]["bank"] + "_startup"
    assert depth["build"] == {"count": 8, "sampling": "rcs", "seed": 0}


def test_reference_rows_do_without_the_method(tables):
    for number in (300, 301):
        rows = profiles.mini_experiment(find_experiment(tables, number)).rows[6:]
        assert not any(row.resolved["uda"].get("depth") for row in rows)


def test_reference_rows_do_not_count(tables):
    experiment = profiles.mini_experiment(find_experiment(tables, 90))
    assert experiment.seeds == (0,)
    assert [row.counts for row in experiment.rows] == [True] * 6 + [False] * 3
    names = [job.name for job in experiment.jobs()][6:]
    assert names == [
        "syn2cs_dacs_srconly_rcs001_daformer_sepaspp_mitb5_poly10warm_s0",
        "2cs_target-only_rcs001_daformer_sepaspp_mitb5_poly10warm_s0",
        "syn2cs_source-only_rcs001_daformer_sepaspp_mitb5_poly10warm_s0",
    ]


def test_every_table_runs_on_the_miniworld(tables, tmp_path):
    options = Options(profile="mini", work_dir=tmp_path)
    # Tables of their own, or without a miniature.
    others = ("SRHA", "DynAlign", "DAFormer", "HRDA", "MIC", "Real images")
    adaptation = [table for table in tables if table.paper not in others]
    for experiment in map(options.table, adaptation):
        for one in plan(experiment, experiment.jobs(), options):
            assert one.resolved["train_cfg"]["max_iters"] == profiles.ITERATIONS
        if experiment.rows[0].name:  # brings baselines of its own
            continue
        assert one.resolved["uda"]["type"] == "Supervised"


@pytest.mark.parametrize(
    ("given", "scaled"),
    [
        (dict(min_share=0.0015), dict(min_share=0.0015)),
        (dict(class_temp=0.1), dict(class_temp=0.1, min_pixels=47)),
    ],
)
def test_rare_classes_by_share_or_by_default(paper, given, scaled):
    config = deepcopy(paper[5])
    config["train_dataloader"]["dataset"]["rare_class_sampling"] = given
    assert profiles.mini(config)["train_dataloader"]["dataset"]["rare_class_sampling"] == scaled


def test_a_data_set_without_a_miniature_is_named(paper):
    config = deepcopy(paper[0])
    config["val_dataloader"]["dataset"]["type"] = "DarkZurich"
    with pytest.raises(UserError, match="Dark Zurich"):
        profiles.mini(config)


def test_startup_takes_two_steps_through_both_phases_of_csi(paper):
    config = variants.startup(paper[1])
    assert config["train_cfg"]["max_iters"] == 2
    assert config["train_cfg"]["val_begin"] > 2
    assert config["default_hooks"]["checkpoint"]["save_last"] is False
    assert config["uda"]["relabel"]["collect"] == (0, 1)
    assert config["uda"]["relabel"]["relabel"] == (1, 2)
    assert variants.startup(profiles.mini(paper[1]))["uda"]["target_start"] == 0


def test_debug_logs_and_validates_more_often(paper):
    config = variants.debug(paper[0])
    assert config["default_hooks"]["logger"]["interval"] == 10
    assert config["train_cfg"]["val_interval"] == 200
    assert config["train_cfg"]["max_iters"] == 40000
