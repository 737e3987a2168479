"""SRHA's tables, their configs and the miniworld profile."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.experiments import cli, profiles, profiles_srha
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.experiments.report import write_report
from mmseg_uda.experiments.tables.srha import SRHA_TABLES
from mmseg_uda.files import write_json
from mmseg_uda.miniworld.staged_weights import STAGED
from mmseg_uda.models.backbones import StagedBackbone

FAKE_TRAIN = (sys.executable, str(Path(__file__).parent / "fake_train.py"))
CBM, BSG = ["cityscapes", "bdd100k", "mapillary"], ["bdd100k", "synthia", "gta"]
# Experiment, row: network, source, images per step, steps, rates of encoder and decoder.
PUBLISHED = {
    (500, 1): ("resnet50", "GTA", 16, 40000, 0.01, 0.01),
    (500, 2): ("resnet50", "GTA", 8, 60000, 0.005, 0.01),
    (500, 3): ("resnet101", "GTA", 9, 60000, 0.005, 0.01),
    (500, 4): ("shufflenet_v2_x1_0", "GTA", 16, 40000, 0.01, 0.01),
    (500, 5): ("shufflenet_v2_x1_0", "GTA", 8, 60000, 0.005, 0.01),
    (500, 6): ("mobilenet_v2", "GTA", 16, 40000, 0.01, 0.01),
    (500, 7): ("mobilenet_v2", "GTA", 8, 60000, 0.005, 0.01),
    (500, 8): ("resnet50", "GTA", 8, 120000, 5e-5, 1e-4),
    (500, 9): ("resnet50", "GTA", 8, 120000, 5e-5, 1e-4),
    (501, 1): ("resnet50", "Cityscapes", 8, 40000, 0.01, 0.01),
    (501, 2): ("resnet50", "Cityscapes", 8, 120000, 0.005, 0.01),
}


def planned(tables, number, rows, tmp_path, profile="paper"):
    options = Options(profile=profile, work_dir=tmp_path)
    experiment = options.table(find_experiment((*tables, *SRHA_TABLES), number))
    return plan(experiment, experiment.jobs(rows, [0]), options)


@pytest.mark.parametrize(("number", "row"), PUBLISHED)
def test_rows_have_the_published_settings(number, row, tables, tmp_path):
    arch, source, images, steps, encoder, decoder = PUBLISHED[number, row]
    (job,) = planned(tables, number, [row], tmp_path)
    config = job.resolved
    assert config["model"]["backbone"]["arch"] == arch
    data = config["train_dataloader"]
    assert data["batch_size"] == images
    assert data["dataset"]["source"]["type"] == source
    assert data["dataset"]["class_uniform_sampling"] == {"share": 0.5, "tile": 1024}
    assert config["train_cfg"]["max_iters"] == steps
    wrapper = config["optim_wrapper"]
    keys = (wrapper.get("paramwise_cfg") or {}).get("custom_keys", {})
    rate = wrapper["optimizer"]["lr"]
    assert (rate * keys.get("backbone", {}).get("lr_mult", 1), rate) == (encoder, decoder)
    targets = config["val_dataloader"]["dataset"]["targets"]
    assert list(targets) == (CBM if number == 500 else BSG)
    srha = config["uda"]["type"] == "SRHA"
    assert srha == ("SRHA" in job.job.row.label)
    backbone = config["model"]["backbone"]
    assert (backbone["frozen_stages"], backbone["standardize"]) == (
        (("stem",), True) if srha else ((), False)
    )


def test_mask2former_has_both_optimizers(tables, tmp_path):
    adamw, sgd = (job.resolved["optim_wrapper"] for job in planned(tables, 500, [8, 9], tmp_path))
    assert adamw["optimizer"]["type"] == "AdamW"
    assert adamw["optimizer"]["weight_decay"] == 0.05
    assert adamw["clip_grad"]["max_norm"] == 0.01
    assert (sgd["optimizer"]["type"], sgd["optimizer"]["weight_decay"]) == ("SGD", 5e-4)
    assert "clip_grad" not in sgd


def test_only_one_number_is_known_and_its_origin_is_told():
    reported = {
        (number, k): row.reported
        for number in range(500, 505)
        for k, row in enumerate(find_experiment(SRHA_TABLES, number).rows, 1)
        if row.reported
    }
    assert list(reported) == [(501, 2)]
    assert reported[501, 2].values == {"mIoU": 43.67}
    assert "second hand" in reported[501, 2].origin


@pytest.mark.parametrize("number", [502, 503, 504])
def test_ablations_change_what_their_names_say(number, tables, tmp_path):
    base, *others = planned(tables, number, None, tmp_path)
    names = [job.job.name for job in (base, *others)]
    assert len(set(names)) == len(names)
    for job in others:
        assert job.job.name.startswith(base.job.row.name)
        changed = {key for key in ("model", "uda") if job.resolved[key] != base.resolved[key]}
        assert len(changed) == 1
        same = {key for key in base.resolved if key not in ("model", "uda")}
        assert all(job.resolved[key] == base.resolved[key] for key in same)


def test_reduced_networks_are_those_that_weights_are_made_for():
    assert profiles_srha.REDUCED == STAGED
    for arch, (width, depth) in STAGED.items():
        backbone = StagedBackbone(arch, width=width, depth=depth)
        assert backbone.feature_channels == profiles_srha.CHANNELS[arch]


def test_the_profile_reads_the_miniworld_and_shows_every_target(tables, tmp_path, monkeypatch):
    (base,) = planned(tables, 500, [1], tmp_path, "mini")
    (job,) = planned(tables, 500, [2], tmp_path, "mini")
    config = job.resolved
    roots = [t["data_root"] for t in config["val_dataloader"]["dataset"]["targets"].values()]
    assert roots == [f"data/miniworld/{name}" for name in ("cityscapes", "bdd", "mapillary")]
    source = config["train_dataloader"]["dataset"]["source"]
    assert (source["data_root"], source["file_list"]) == ("data/miniworld/gta", "splits/train.txt")
    assert config["model"]["backbone"]["init_cfg"]["checkpoint"] == "miniworld/resnet50"
    # 40 000 x 16 images and 60 000 x 8 keep their ratio
    seen = [
        one.resolved["train_cfg"]["max_iters"] * one.resolved["train_dataloader"]["batch_size"]
        for one in (base, job)
    ]
    assert seen[0] / seen[1] == pytest.approx(640 / 480, rel=0.01)
    assert not {"native_pipeline", "mapillary_pipeline", "source_pipeline"} & set(config)
    assert profiles.world_groups([config]) == ["generalization"]
    assert profiles.world_groups([planned(tables, 90, [1], tmp_path, "mini")[0].resolved]) == []


def test_the_profile_keeps_the_relations_of_the_rows(tables, tmp_path):
    """Steps, batch and rate are those of the article times one factor each."""
    rows = [1, 2, 4, 5, 6, 7]
    paper, mini = (
        [job.resolved for job in planned(tables, 500, rows, tmp_path, profile)]
        for profile in ("paper", "mini")
    )
    for published, scaled in zip(paper, mini, strict=True):
        assert published["train_cfg"]["max_iters"] == (
            scaled["train_cfg"]["max_iters"] * profiles_srha.STEPS
        )
        assert scaled["train_dataloader"]["batch_size"] == (
            published["train_dataloader"]["batch_size"] * profiles_srha.BATCH_SHARE
        )
        (schedule,) = scaled["param_scheduler"]
        assert schedule["end"] == scaled["train_cfg"]["max_iters"] + 1
        one, other = (c["optim_wrapper"] for c in (published, scaled))
        assert other["optimizer"]["lr"] == pytest.approx(10 * one["optimizer"]["lr"])
        assert other.get("paramwise_cfg") == one.get("paramwise_cfg")
    adamw, sgd = planned(tables, 500, [8, 9], tmp_path, "mini")
    rates = [job.resolved["optim_wrapper"]["optimizer"]["lr"] for job in (adamw, sgd)]
    assert rates == pytest.approx([1e-3, 1e-3])


def test_the_profile_scales_losses_and_leaves_off_what_is_off(tables, tmp_path):
    labels = [row.label for row in find_experiment(SRHA_TABLES, 502).rows]
    rows = [labels.index(name) + 1 for name in ("SRHA, complete", "SRHA, no consistency")]
    complete, without = (j.resolved["uda"] for j in planned(tables, 502, rows, tmp_path, "mini"))
    assert complete["consistency_weight"] == pytest.approx(1.0)
    assert without["consistency_weight"] == 0
    for uda in (complete, without):
        assert uda["alignment_weights"] == pytest.approx((0.12, 0.18, 0.24, 0.3))


def test_the_profile_scales_losses_that_a_config_leaves_at_their_defaults(tables, tmp_path):
    (job,) = planned(tables, 500, [7], tmp_path)
    for option in ("alignment_weights", "consistency_weight"):
        del job.resolved["uda"][option]
    uda = profiles.mini(job.resolved)["uda"]
    assert uda["alignment_weights"] == pytest.approx((0.2, 0.3, 0.4, 0.5))
    assert uda["consistency_weight"] == pytest.approx(1.0)


def test_the_profile_scales_factors_by_level(tables, tmp_path):
    (job,) = planned(tables, 500, [7], tmp_path)
    job.resolved["uda"]["alignment_weights"] = {"local": (1.0, 1.0, 1.0, 1.0)}
    scaled = profiles.mini(job.resolved)["uda"]["alignment_weights"]
    assert scaled == {"local": pytest.approx((0.5, 0.5, 0.5, 0.5))}


def test_every_target_of_the_profile_builds_its_pipeline(tables, tmp_path):
    from mmseg.registry import TRANSFORMS

    for number, row in ((500, 2), (501, 2)):
        (job,) = planned(tables, number, [row], tmp_path, "mini")
        config = Config(job.resolved)
        for part in config.val_dataloader.dataset.targets.values():
            assert DATASETS.get(part.type) is not None
            assert [TRANSFORMS.build(step) for step in part.pipeline]


def test_the_report_has_a_column_per_target_and_calls_the_best_an_oracle(tmp_path):
    experiment = find_experiment(SRHA_TABLES, 501)
    job = experiment.jobs([2], [0])[0]
    values = {"bdd100k/mIoU": 40.0, "synthia/mIoU": 20.0, "gta/mIoU": 33.0, "IoU": {"road": 90.0}}
    evaluations = [
        {"iter": 60000, "mIoU": 35.0, **values},
        {"iter": 120000, "mIoU": 31.0, **values},
    ]
    folder = tmp_path / job.name
    write_json(folder / "evaluations.json", evaluations)
    write_json(folder / "status.json", {"state": "done", "seconds": 60.0})
    markdown, csv, _, page = write_report(experiment, tmp_path, "paper")
    lines = markdown.read_text().splitlines()
    assert "| # | row | seeds | mean of targets | mean of targets, reported | BDD100K |" in [
        line[: line.index(" SYNTHIA |")] for line in lines if " SYNTHIA |" in line
    ]
    row = next(line for line in lines if line.startswith("| 2 |"))
    assert row.startswith("| 2 | DeepLabV3+ ResNet-50 + SRHA | 1/3 | 31.0 | 43.67 | 40.0 | 20.0 |")
    best = next(line for line in lines if "120000" not in line and "60000" in line)
    assert "| 31.0 | 35.0 | 60000 |" in best
    assert any("oracle" in line and "at iteration" in line for line in lines)
    assert "bdd100k/mIoU,synthia/mIoU,gta/mIoU" in csv.read_text()
    assert "mean of targets" in page.read_text()


def test_the_optimizer_has_two_groups_without_the_stem(tables, tmp_path):
    """Check 11: stages at half the decoder's rate, weight decay on BatchNorm, too."""
    (job,) = planned(tables, 500, [2], tmp_path)
    config = Config(job.resolved)
    config.model.backbone.init_cfg = None
    with torch.device("meta"):
        trainer = MODELS.build(wrap_model(config).model)
    wrapper_cfg = dict(config.optim_wrapper)
    build = OPTIM_WRAPPER_CONSTRUCTORS.get(wrapper_cfg.pop("constructor"))
    paramwise = wrapper_cfg.pop("paramwise_cfg")
    groups = build(wrapper_cfg, paramwise)(trainer).optimizer.param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.005, 5e-4), (0.01, 5e-4)]
    found = {id(p) for group in groups for p in group["params"]}
    names = {name: id(p) in found for name, p in trainer.model.named_parameters()}
    stem = {name for name in names if name.startswith("backbone.layer0")}
    assert stem and not any(names[name] for name in stem)
    assert all(names[name] for name in names if name not in stem)
    assert len(groups[0]["params"]) == sum(n.startswith("backbone") for n in names) - len(stem)


@pytest.mark.parametrize(("number", "further"), [(501, ["--with", "generalization"]), (90, [])])
def test_the_miniworld_gets_what_a_table_needs(number, further, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(cli.preflight, "require", lambda *args, **kwargs: None)
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path / "data"))
    note = tmp_path / "arguments"
    code = f"import sys; open({str(note)!r}, 'w').write(' '.join(sys.argv[1:]))"
    make_world = (sys.executable, "-c", code)
    status = cli.main(
        tables,
        ["--work-dir", str(tmp_path), "--exp", str(number), "--rows", "1", "--profile", "mini"],
        train=FAKE_TRAIN,
        make_world=make_world,
    )
    assert status == 0
    assert note.read_text().split() == ["--out", str(tmp_path / "data/miniworld"), *further]
