"""Banks of source crops are drawn once, before the jobs that share them."""

import json
import sys

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import banks, preflight
from mmseg_uda.experiments.banks import build_missing_banks, missing_bank
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan

# Writes down its arguments, and makes the bank that the config names.
FAKE = """
import json, runpy, sys
from pathlib import Path
config = Path(sys.argv[2])
with open({log!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
from mmengine.config import Config
bank = Path(Config.fromfile(str(config), import_custom_modules=False).uda.depth.bank)
bank.mkdir(parents=True)
(bank / "meta.json").write_text("{{}}")
sys.exit({status})
"""


@pytest.fixture
def planned(tables, tmp_path, monkeypatch):
    """Rows of GTA with all seeds, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    experiment = find_experiment(tables, 301)
    jobs = plan(experiment, experiment.jobs([1, 2, 4]), Options(work_dir=tmp_path / "work"))
    for one in jobs:
        one.write()
    return jobs


def build(tmp_path, status=0):
    script = tmp_path / "build.py"
    script.write_text(FAKE.format(log=str(tmp_path / "calls"), status=status))
    return [sys.executable, str(script)]


def calls(tmp_path):
    file = tmp_path / "calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_each_bank_is_drawn_once(planned, tmp_path):
    build_missing_banks(planned, ["a.b=1"], build(tmp_path))
    found = calls(tmp_path)
    assert [call[0] for call in found] == ["--config"] * 2
    assert [call[2:] for call in found] == [["--cfg-options", "a.b=1"]] * 2
    names = [call[1].rsplit("/", 1)[1] for call in found]
    assert names == [f"{planned[i].job.name}.py" for i in (3, 6)]
    build_missing_banks(planned, [], build(tmp_path))
    assert len(calls(tmp_path)) == 2


def test_finished_jobs_need_no_bank(planned, tmp_path):
    for one in planned[3:]:
        one.folder.path.mkdir(parents=True)
        (one.folder.path / "status.json").write_text(json.dumps({"state": "done"}))
    build_missing_banks(planned, [], build(tmp_path))
    assert calls(tmp_path) == []


def test_a_failed_draw_stops_before_the_jobs(planned, tmp_path):
    with pytest.raises(UserError, match="preprocessed/gta_daformer could not be drawn") as error:
        build_missing_banks(planned, [], build(tmp_path, status=2))
    assert "--config" in error.value.fix


@pytest.mark.parametrize(
    ("depth", "missing"),
    [
        (None, False),
        ({"bank": "b", "build": {"count": 3}}, True),
        ({"bank": "b"}, False),  # must exist; the training says so
        ({"bank": "b/gta_3_distribution.pth", "build": {}}, False),
    ],
)
def test_what_has_to_be_drawn(depth, missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"uda": {"depth": depth}}
    assert (missing_bank(config) is not None) == missing
    (tmp_path / "b").mkdir()
    (tmp_path / "b/gta_3_distribution.pth").touch()
    assert missing_bank(config) is None


def test_a_bank_in_the_data_folder_follows_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path))
    config = {"uda": {"depth": {"bank": "data/world/bank", "build": {}}}}
    assert missing_bank(config) == tmp_path / "world/bank"


def test_source_depth_is_asked_for_only_while_the_bank_is_missing(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path / "data"))
    for name in (
        "gta/images/0.png",
        "gta/labels/0_labelTrainIds.png",
        *(f"cityscapes/leftImg8bit/{s}/c/c_0_leftImg8bit.png" for s in ("train", "val")),
        "cityscapes/gtFine/val/c/c_0_gtFine_labelTrainIds.png",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    config = planned[3].resolved
    missing = [path.path for path in preflight.missing_data([config])]
    folder = f"{tmp_path}/data"
    assert missing == [
        f"{folder}/cityscapes/depth_any/train/c/c_0_depth.png",
        f"{folder}/gta/depth_any/0.png",
    ]
    assert preflight.missing_data([planned[0].resolved]) == []  # the row without CDDA
    bank = tmp_path / "preprocessed/gta_daformer"
    bank.mkdir(parents=True)
    (bank / banks.META).touch()
    assert [path.path for path in preflight.missing_data([config])] == missing[:1]
