"""The estimate of disk space, against networks and files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import disk, profiles, profiles_dynalign
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.miniworld.world import DEFAULT_COUNTS

GB = 1e9


def planned(tables, tmp_path, rows, number=90, **options):
    options = Options(work_dir=tmp_path, **options)
    table = options.table(find_experiment(tables, number))
    return plan(table, table.jobs(rows), options), options.folder(table)


@pytest.mark.parametrize(("number", "row"), [(90, 1), (90, 5), (91, 1)])
def test_sizes_from_the_table_are_those_of_the_networks(tables, tmp_path, number, row):
    jobs, _ = planned(tables, tmp_path, [row], number)
    config = Config(jobs[0].resolved)
    config.model.backbone.pop("init_cfg", None)
    with torch.device("meta"):
        network = MODELS.build(config.model)
    size = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    assert disk.network_bytes(jobs[0].resolved) == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize(
    "name",
    ["r50-os16_b8-60k_gta2cbm", "r101-os16_b9-60k_gta2cbm", "mobilenetv2_b8-60k_gta2cbm"]
    + ["shufflenetv2_b8-60k_gta2cbm", "r50-m2f_b8-120k_gta2cbm-adamw"],
)
def test_sizes_of_networks_in_stages(name):
    config = Config.fromfile(f"configs/srha/srha_{name}.py")
    with torch.device("meta"):
        network = MODELS.build(config.model)
    size = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    assert disk.network_bytes(config.to_dict()) == pytest.approx(size, rel=0.03)


def test_what_a_checkpoint_holds():
    adam = dict(optim_wrapper=dict(optimizer=dict(type="AdamW")))
    sgd = dict(optim_wrapper=dict(optimizer=dict(type="SGD")))
    host = dict(type="SelfTraining")
    own = dict(type="SelfTraining", masking=dict(alpha=0.9))
    assert disk.checkpoint_copies(dict(uda=dict(type="Supervised"), **adam)) == 3
    average = dict(type="Supervised", ema=dict(begin=3))
    assert disk.checkpoint_copies(dict(uda=average, **adam)) == 4
    assert disk.checkpoint_copies(dict(uda=host, **adam)) == 4
    assert disk.checkpoint_copies(dict(uda=host, **sgd)) == 3
    assert disk.checkpoint_copies(dict(uda=own, **adam)) == 5
    assert disk.checkpoint_copies(dict(uda={**host, "source_only": True}, **adam)) == 3


def test_the_demand_of_a_table(tables, tmp_path):
    jobs, folder = planned(tables, tmp_path, [1])  # three seeds
    need = disk.demand(jobs, folder, parallel=2, keep=None)
    each = 4 * disk.network_bytes(jobs[0].resolved)
    assert each == pytest.approx(1.36 * GB, rel=0.03)
    assert need.needed == pytest.approx((3 * 2 + 2) * each, rel=0.02)
    assert disk.demand(jobs, folder, 2, keep=1).needed == pytest.approx(5 * each, rel=0.02)
    assert "3 jobs (2 checkpoints each, up to 1.4 GB)" in need.text()


def test_files_that_are_there_are_measured_and_not_counted_twice(tables, tmp_path):
    jobs, folder = planned(tables, tmp_path, [1, 2])
    first = jobs[0].folder.path
    first.mkdir(parents=True)
    for name in ("iter_2000.pth", "iter_4000.pth"):
        with (first / name).open("wb") as file:
            file.truncate(2 * 10**9)  # sparse
    own, sibling, other = (disk.estimate(jobs[i], jobs) for i in (0, 1, 3))
    assert own.measured and own.checkpoint == 2e9
    assert own.to_come < 30e6  # logs
    assert sibling.measured and sibling.to_come == pytest.approx(4e9, rel=0.01)
    assert not other.measured and other.checkpoint < 1.5e9


def test_pictures_count(tables, tmp_path):
    changes = (
        "default_hooks.debug_panels.interval=100",
        "default_hooks.visualization.interval=5",
    )
    (plain, *_), _ = planned(tables, tmp_path, [1])
    (drawn, *_), _ = planned(tables, tmp_path, [1], cfg_options=changes)
    assert disk.picture_bytes(plain.effective) == 0
    # 400 pictures of 2 × 25 tiles of 320 pixels, and a fifth of 500 predictions
    assert disk.picture_bytes(drawn.effective) == pytest.approx(400 * 7.68e6 + 10e6)
    more = disk.estimate(drawn).to_come - disk.estimate(plain).to_come
    assert more == pytest.approx(disk.picture_bytes(drawn.effective))
    assert drawn.fingerprint == plain.fingerprint  # pictures change no number


def test_a_short_run_writes_fewer_files(tables, tmp_path):
    jobs, _ = planned(tables, tmp_path, [1], variant="startup")
    assert disk.estimate(jobs[0]).kept == 0
    one = disk.Estimate(2e9, 1, 0.0, 0.0, 0.0, measured=False)
    assert "(1 checkpoint of 2.0 GB)" in one.text()


def test_an_unknown_network_is_said_to_be_unknown(tables, tmp_path):
    jobs, folder = planned(tables, tmp_path, [1])
    jobs[0].effective["model"]["backbone"]["type"] = "MyOwn"
    need = disk.demand(jobs, folder, 1, None)
    assert need.unknown == 1 and "and 1 job of unknown size" in need.text()


def test_too_little_space_is_refused_with_the_fix(tables, tmp_path, monkeypatch):
    jobs, folder = planned(tables, tmp_path, [1])

    def free(amount):
        monkeypatch.setattr(
            disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=amount * GB)
        )
        return disk.demand(jobs, folder, 1, None)

    assert disk.require_space(free(100), folder) == ""
    assert "almost full" in disk.require_space(free(10), folder)
    with pytest.raises(UserError, match=r"(?s)2.0 GB are free.*--keep 1.*--ignore-disk-space"):
        disk.require_space(free(2), folder)


def test_the_command_refuses_and_can_be_told_not_to(run, tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    arguments = ("--exp", "90", "--profile", "mini", "--rows", "7")
    status, text = run(*arguments)
    assert status == 2 and "Disk: about" in text and "--keep 1" in text
    assert not list(tmp_path.glob("exp90-mini/*/status.json"))
    assert run(*arguments, "--ignore-disk-space")[0] == 0
    _, text = run("--exp", "90", "--dry-run")
    for words in ("Disk: about", "for 18 jobs", "hours in all", "Weights: mit_b5", "Data: SYNTHIA"):
        assert words in text


def test_an_alignment_is_as_large_as_its_images_are_many(tables, tmp_path):
    paper = planned(tables, tmp_path, [4], number=600)[0][-1]
    assert disk.alignment_bytes(paper.resolved) == pytest.approx(27 * GB)
    two = {**paper.resolved, "limit": 2}
    two["data"] = {**two["data"], "evaluate": dict(type="Mapillary", split="val")}
    assert disk.alignment_bytes(two) == 4 * disk.ALIGNED_BYTES


def test_the_miniworld_needs_megabytes(tables, tmp_path):
    jobs, folder = planned(tables, tmp_path, None, number=600, profile="mini")
    need = disk.demand(jobs, folder, parallel=2, keep=None)
    assert need.needed < 0.3 * GB
    images = {one.job.row.label: disk.alignment_bytes(one.resolved) for one in jobs}
    assert images["labels for retraining"] == pytest.approx(14.4e6)


def test_counts_of_the_miniworld_are_those_that_it_renders():
    split = {"train": ("train", "training"), "val": ("val", "validation")}
    for (kind, name), count in profiles_dynalign.ALIGNED_IMAGES.items():
        rendered = DEFAULT_COUNTS[Path(profiles.DATA_ROOTS[kind]).name]
        assert count == next(rendered[s] for s in split[name] if s in rendered)
