"""The tables of DAFormer, HRDA and MIC: names, settings, numbers, and their miniature."""

from math import inf

import pytest

from mmseg_uda.experiments import profiles
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan

UDA = "dacs_a999_fdthings_rcs001"
HR, LR = "daformer_sepaspp_sl_mitb5_poly10warm", "daformer_sepaspp_mitb5_poly10warm"
FULL = f"gtaHR2csHR_1024x1024_{UDA}-20"
NETWORKS = {
    1: ("dlv2red_r101v1c", "da_nodbn_r101v1c", "isa_nodbn_r101v1c", "dlv3p_nodbn_r101v1c")
    + ("segformer_mitb5",),
    2: ("sfa_dlv3p_nodbn_mitb5-del", "segformer_r101v1c"),
    3: ("dlv2red_r50v1c", "dlv2red_s50", "dlv2red_s101", "dlv2red_s200", "segformer_mitb3")
    + ("segformer_mitb4",),
    6: ("daformer_conv1_mitb5", "upernet_mitb5", "upernet_ch256_mitb5", "daformer_isa_mitb5")
    + ("daformer_sepaspp_bottleneck_mitb5", "daformer_aspp_mitb5", "daformer_sepaspp_mitb5"),
}
STARTS = (
    *("dlv2red_r101v1c", "dlv3p_nodbn_r101v1c", "da_nodbn_r101v1c", "segformer_mitb5"),
    *("isa_nodbn_r101v1c", "dlv2red_r50v1c", "dlv2red_s50", "dlv2red_s101", "dlv2red_s200"),
    *("dlv2red_x50-32", "dlv2red_x101-32", "segformer_mitb4", "segformer_mitb3"),
    *(*NETWORKS[2], "daformer_conv1_mitb5", "daformer_isa_mitb5"),
    *("daformer_sepaspp_bottleneck_mitb5", "daformer_aspp_mitb5", "daformer_sepaspp_mitb5"),
    *("upernet_mitb5", "upernet_ch256_mitb5"),
)
STRATEGIES = ("dacs_rcsinf", "dacs_rcs001", "dacs_fd", "dacs_fdthings", "dacs_fdthings_rcs001")
ABLATIONS = (
    ("sf512x512_cpl2_hrda1-512-01", "sf768x768_cpl2_hrda1-512-01")
    + ("cpl2_hrda1-256-01", "cpl2_hrda1-384-01", "sf768x768_cpl2_hrda1-384-01")
    + ("samescale", "cpl2_hrda1-512-01-blurhr", "cpl2_hrda1-512-0-fixedatt-nooverlap")
    + ("cpl2_hrda1-512-0-nooverlap", "cpl2_hrda1-512-0")
    + tuple(f"cpl2_hrda1-512-0{tenths}" for tenths in range(2, 8))
    + ("sf512x512_cpl2_hrda1-512-01-sc025", "sf512x512_cpl2_hrda1-512-01-sc075")
)


def crossed(networks, ways, schedule="poly10warm"):
    return [f"gta2cs_{way}_{network}_{schedule}" for network in networks for way in ways]


SUD, UD = ("source-only", "dacs", "target-only"), ("dacs", "target-only")
HRDA_NAME = f"hrda1-512-01_{HR}"
NAMES = {
    1: crossed(NETWORKS[1], SUD),
    2: crossed(NETWORKS[2], UD),
    3: crossed(NETWORKS[3], SUD),
    4: crossed(("dlv2red_r101v1c", "segformer_mitb5"), UD, "poly10"),
    5: crossed(("segformer_mitb5",), (*STRATEGIES, f"{UDA}_cpl"))
    + crossed(("dlv2red_r101v1c",), (f"{UDA}_cpl",)),
    6: crossed(NETWORKS[6], (f"{UDA}_cpl", "target-only")),
    7: [f"syn2cs_{UDA}_cpl_{LR}"],
    8: [f"cs2{target}_{UDA}_cpl_{LR}" for target in ("acdc", "dzur")],
    40: [f"{source}HR2csHR_1024x1024_{UDA}-20_cpl2_{HRDA_NAME}" for source in ("gta", "syn")],
    41: [
        name
        for way, low, high, tail in (
            ("advseg", "gtaCAug", "gtaCAugHR", "_sgd_00025_pmF"),
            ("minent", "gtaCAug", "gtaCAugHR", "_sgd_00025_pmF"),
            ("dacs", "gta", "gtaHR", ""),
            (UDA, "gta", "gtaHR", ""),
        )
        for name in (
            f"{low}2cs_{way}{'_cpl2' * (way == UDA)}_dlv2red_r101v1c_poly10warm{tail}",
            f"{high}2csHR_1024x1024_{way}{'-20_cpl2' * (way == UDA)}_hrda1-512-01_"
            f"dlv2red_r101v1c_poly10warm{tail}",
        )
    ],
    42: [f"gta2cs_{UDA}_sf{s}x{s}_cpl2_{HR}" for s in (128, 256, 384)]
    + [f"gta2cs_{UDA}_cpl2_{HR}"]
    + [f"{FULL}_sf{s}x{s}_cpl2_{HR}" for s in (256, 512, 768)],
    43: [f"2cs_{s}x{s}_target-only_{HR}" for s in (128, 256, 384)]
    + [f"2cs_target-only_{HR}", f"2csHR_256x256_target-only_{HR}"]
    + [f"2csHR_target-only_{HR}", f"2csHR_768x768_target-only_{HR}"],
    44: [
        f"gta2cs_{UDA}_cpl2_hrda1-256-01-samescale_{HR}"
        if part == "samescale"
        else f"{FULL}_{part}_{HR}"
        for part in ABLATIONS
    ],
    49: [f"csHR2{t}HR_1024x1024_{UDA}-20_{HRDA_NAME}" for t in ("acdc", "dzur")],
    50: [
        f"{low}_dgdacs_fdthings_srconly_rcs001{rest}"
        for low, rest in (
            ("gtaCAug2cs", f"_{LR}"),
            ("gtaCAugHR2csHR_1024x1024", f"-20_hrda1-384-01_{HR}"),
            ("gtaCAugHR2csHR_1024x1024", f"-20_{HRDA_NAME}"),
        )
    ],
    80: [
        f"{s}HR2{t}HR_1024x1024_{UDA}-20{margins}_m64-07-{tag}_{HRDA_NAME}"
        for s, t, margins, tag in (
            ("gta", "cs", "_cpl2", "spta"),
            ("syn", "cs", "_cpl2", "spta"),
            ("cs", "acdc", "", "sep"),
            ("cs", "dzur", "", "sep"),
        )
    ],
    81: [
        f"gta2cs_{way}_m32-07-spta_dlv2red_r101v1c_poly10warm{tail}"
        for way, tail in (
            ("advseg", "_sgd_00025_pmF"),
            ("minent", "_sgd_00025_pmF"),
            ("dacs", ""),
            (f"{UDA}_cpl", ""),
        )
    ]
    + [f"{FULL}_cpl2_m64-07-spta_hrda1-512-01_dlv2red_sl_r101v1c_poly10warm"]
    + [f"gta2cs_{UDA}_cpl_m32-07-spta_{LR}"],
    82: [f"{FULL}_cpl2_m64-07-{tag}_{HRDA_NAME}" for tag in ("spsa", "spa")]
    + [f"csHR2acdcHR_1024x1024_{UDA}-20_m64-07-{tag}_{HRDA_NAME}" for tag in ("sps", "spt")],
    83: [f"gta2cs_{UDA}_cpl_m32-{tag}_{LR}" for tag in ("07-spt", "0-spta", "07-a0-spta")]
    + [f"gta2cs_{UDA}_cpl_m32-07-pN-spta_{LR}"],
    84: [
        f"gta2cs_{UDA}_cpl_m{block}-0{tenths}-spta_{LR}"
        for block in (16, 32, 64, 128)
        for tenths in (3, 5, 7, 9)
        if (block, tenths) != (32, 7)
    ],
    100: crossed(STARTS, ("target-only",)),
    101: [
        f"gta2cs_{way}_segformer_mitb5_poly10warm"
        for way in ("source-only", "target-only", "dacs", *STRATEGIES, f"{UDA}_cpl")
    ],
    85: [f"cs2cs_dacs_srconly_m32-07-sps_{LR}"],
}
JOBS = {1: 45, 2: 12, 3: 18, 4: 4, 5: 21, 6: 42, 7: 3, 8: 6, 100: 22, 101: 9, 40: 6, 42: 21}
JOBS |= {41: 24, 81: 18, 43: 21, 44: 54, 49: 6, 50: 9, 80: 12, 82: 12, 83: 12, 84: 45, 85: 3}


@pytest.mark.parametrize("number", NAMES)
def test_every_row_has_its_published_name(tables, number):
    experiment = find_experiment(tables, number)
    assert [row.stem for row in experiment.rows] == NAMES[number]


@pytest.mark.parametrize("number", JOBS)
def test_jobs(tables, number):
    experiment = find_experiment(tables, number)
    assert len(experiment.jobs()) == JOBS[number]
    assert experiment.seeds == ((0,) if number in (3, 4, 100, 101) else (0, 1, 2))
    assert len({job.name for job in experiment.jobs()}) == JOBS[number]


def rows(tables, number):
    return {row.label: row.resolved for row in find_experiment(tables, number).rows}


def test_the_oracles_names_tell_a_source_as_in_the_original(tables):
    for number in (1, 2, 3, 4, 6):
        for row in find_experiment(tables, number).rows:
            if "target-only" in row.stem:
                data = row.resolved["train_dataloader"]["dataset"]
                assert data["source"]["type"] == "Cityscapes" and data["target"] is None


def test_ways_of_training(tables):
    found = rows(tables, 5)
    temps = [
        (config["train_dataloader"]["dataset"]["rare_class_sampling"] or {}).get("class_temp")
        for config in found.values()
    ]
    assert temps == [inf, 0.01, None, None, 0.01, 0.01, 0.01]
    distances = [config["uda"].get("feature_distance") for config in found.values()]
    classes = [distance and distance["classes"] for distance in distances]
    things = [6, 7, *range(11, 19)]
    assert classes == [None, None, None, things, things, things, things]
    assert [bool(distance) for distance in distances] == [False, False, *[True] * 5]
    assert [c["uda"]["alpha"] for c in found.values()] == [0.99] * 5 + [0.999] * 2
    rows_cut = [c["uda"].get("pseudo_weight_ignore_bottom", 0) for c in found.values()]
    assert rows_cut == [0] * 5 + [120] * 2


def test_crops_are_synchronised_and_predictions_slide(tables):
    for config in rows(tables, 42).values():
        data, model = config["train_dataloader"]["dataset"], config["model"]
        size = data.get("sync_crop_size") or (512, 512)
        assert model["data_preprocessor"]["size"] == size
        test = model["test_cfg"]
        assert (test["mode"], test["crop_size"]) == ("slide", size)
        assert test["stride"] == (size[0] // 2, size[1] // 2)
        assert data["target"]["crop_pseudo_margins"] == [30, 240, 30, 30]
        assert "pseudo_weight_ignore_top" not in config["uda"]
        assert (model["type"], model["backbone"]["variant"]) == ("SlideEncoderDecoder", "b5")


def test_generalization_sees_distorted_gta_alone_and_scores_three_targets(tables):
    low, *high = find_experiment(tables, 50).rows
    scales = []
    for row in (low, *high):
        config = row.resolved
        data, uda = config["train_dataloader"]["dataset"], config["uda"]
        assert data["target"] is None and uda["source_only"] and uda["alpha"] == 0.99
        assert uda["feature_distance"]["classes"] == [6, 7, *range(11, 19)]
        assert data["source"]["pipeline"][-2]["type"] == "PhotoMetricDistortion"
        assert config["val_evaluator"]["type"] == "MultiTargetIoU"
        targets = config["val_dataloader"]["dataset"]["targets"]
        assert list(targets) == ["cityscapes", "bdd100k", "mapillary"]
        assert targets == config["test_dataloader"]["dataset"]["targets"]
        pipelines = [one["pipeline"] for one in targets.values()]
        scales += [[step["scale"] for step in p if "scale" in step] for p in pipelines]
    assert scales == [[(1024, 512)]] * 3 + [[(2048, 1024)]] * 6  # of images; labels are native
    for row in (low, high[0]):  # the published mean is that of the targets
        mean, *targets = row.shown.values.values()
        assert sum(targets) / 3 == pytest.approx(mean, abs=0.01)


def test_generalization_asks_the_miniworld_for_its_targets(tables, tmp_path):
    options = Options(profile="mini", work_dir=tmp_path)
    for number, groups in ((50, ["generalization"]), (40, [])):
        experiment = options.table(find_experiment(tables, number))
        (one,) = plan(experiment, experiment.jobs([1]), options)
        assert profiles.world_groups([one.resolved]) == groups


def test_without_more_context_both_scales_are_supervised(tables):
    for label, config in rows(tables, 44).items():
        model = config["model"]
        small = "512" in label
        assert (model["feature_scale"] == "all") == small
        assert model["decode_head"].get("lr_loss_weight", 0) == (0.1 if small else 0)


def test_masks_are_half_as_large_at_half_resolution(tables):
    blocks = {
        n: {c["uda"]["masking"]["block_size"] for c in rows(tables, n).values()}
        for n in JOBS
        if n in (80, 82, 83, 85)
    }
    assert blocks == {80: {64}, 82: {64}, 83: {32}, 85: {32}}


def test_numbers_from_memory_are_shown_nowhere(tables):
    remembered = []
    for number in JOBS:
        for row in find_experiment(tables, number).rows:
            if row.reported is not None and "memory" in row.reported.origin:
                remembered.append(row)
                assert row.shown is None
            elif row.reported is not None:
                assert row.shown is row.reported
    assert len(remembered) == 12 + 4 + 18 + 4 + 7 + 13 + 8 + 1
    shown = {
        row.stem: row.shown.values
        for number in JOBS
        for row in find_experiment(tables, number).rows
        if row.shown is not None
    }
    means = [next(iter(values.values())) for values in shown.values()]
    assert means[:9] == [68.3, 60.9, 55.4, 53.8, 73.8, 65.8, 68.0, 55.9, 51.73]
    assert means[9:] == [55.9, 75.9, 67.3, 70.4, 60.2]


MISSING = {8: 1, 49: 1, 80: 1}  # Dark Zurich


@pytest.mark.parametrize("number", [n for n in JOBS if n not in (100, 101)])
def test_the_miniature_keeps_the_geometry(tables, tmp_path, number):
    options = Options(profile="mini", work_dir=tmp_path)
    experiment = options.table(find_experiment(tables, number))
    counted = [row for row in experiment.rows if row.counts]
    assert len(counted) == JOBS[number] // (1 if number in (3, 4) else 3) - MISSING.get(number, 0)
    assert ("Dark Zurich" in experiment.title.partition(". Without")[2]) == (number in MISSING)
    for one in plan(experiment, experiment.jobs(), options):
        paper, config = one.job.row.resolved, one.resolved
        model, data = config["model"], config["train_dataloader"]["dataset"]
        share = 8  # at half resolution and at the full one
        for key in ("crop_size", "stride"):
            if paper["model"]["test_cfg"]["mode"] == "slide":
                wanted = tuple(side // share for side in paper["model"]["test_cfg"][key])
                assert model["test_cfg"][key] == wanted
        if "hr_crop_size" in paper["model"]:
            wanted = tuple(side // share for side in paper["model"]["hr_crop_size"])
            assert model["hr_crop_size"] == wanted
        sync = paper["train_dataloader"]["dataset"].get("sync_crop_size")
        assert data.get("sync_crop_size") == (sync and tuple(side // share for side in sync))
        masking = paper["uda"].get("masking")
        if masking:
            block = config["uda"]["masking"]["block_size"]
            assert block == masking["block_size"] // share
        assert model["backbone"]["type"] == "NanoBackbone"
        assert config["train_cfg"]["max_iters"] == profiles.ITERATIONS


def test_masked_rows_stand_beside_their_hosts(tables):
    experiment = profiles.mini_experiment(find_experiment(tables, 80))
    references = [row.label for row in experiment.rows if not row.counts]
    assert references[:3] == [
        f"{s}, host alone"
        for s in ("GTA → Cityscapes", "SYNTHIA → Cityscapes", "Cityscapes → ACDC")
    ]
    assert not any(r.resolved["uda"].get("masking") for r in experiment.rows if not r.counts)


def test_a_start_up_test_stays_one_in_miniature(tables, tmp_path):
    options = Options(profile="mini", work_dir=tmp_path)
    for number in (100, 101):
        experiment = options.table(find_experiment(tables, number))
        planned = plan(experiment, experiment.jobs(), options)
        assert len(planned) == JOBS[number]
        assert {one.resolved["train_cfg"]["max_iters"] for one in planned} == {2}
