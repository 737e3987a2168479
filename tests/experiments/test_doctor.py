import json
import shutil

import pytest
from mmengine.config import Config
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor import cli
from mmseg_uda.experiments.doctor.findings import Finding, Level
from mmseg_uda.experiments.doctor.installation import (
    check_families,
    check_installation,
    check_torch_pair,
)


def test_this_installation_is_sound():
    assert [f for f in check_installation() if f.level is Level.PROBLEM] == []


def test_both_families_of_openmmlab_are_found():
    (finding,) = check_families({"onedl-mmcv": "2.3.6", "mmcv-lite": "2.1.0", "numpy": "2"})
    assert finding.level is Level.PROBLEM
    assert "onedl-mmcv and mmcv-lite" in finding.message
    assert "pip uninstall -y onedl-mmcv mmcv-lite" in finding.fix
    (finding,) = check_families({"mmsegmentation": "1.2.2"})
    assert finding.level is Level.NOTE
    assert check_families({"onedl-mmcv": "2.3.6"}) == []


@pytest.mark.parametrize(
    ("torch", "torchvision", "problem"),
    [
        ("2.11.0", "0.26.0", None),
        ("2.4.1+cu121", "0.19.1+cu121", None),
        ("2.6.0", "0.19.0", "needs torchvision 0.21"),
        ("2.11.0+cpu", "0.26.0", "different builds"),
    ],
)
def test_torch_and_torchvision_belong_together(torch, torchvision, problem):
    found = [finding.message for finding in check_torch_pair(torch, torchvision)]
    assert len(found) == (problem is not None)
    assert all(problem in message for message in found)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A config with one labelled data set of three 4 x 6 images; returns its path."""
    for folder, mode, colour in (("rgb", "RGB", (9, 9, 9)), ("ids", "L", 3)):
        (tmp_path / folder).mkdir()
        for number in range(3):
            Image.new(mode, (6, 4), colour).save(tmp_path / folder / f"{number}.png")
    data = dict(type="TaxonomyDataset", data_root=str(tmp_path), img_dir="rgb", label_dir="ids")
    path = tmp_path / "tiny.py"
    Config(dict(train_dataloader=dict(dataset=dict(source=data)), model={})).dump(str(path))
    monkeypatch.setattr(cli, "check_installation", lambda: [Finding("installation", Level.OK, "")])
    monkeypatch.setattr(preflight, "settle_for_cache_when_offline", lambda: None)
    return path


def diagnose(capsys, *arguments):
    status = cli.main([*map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_complete_data_set_is_counted_and_read(tiny, capsys):
    status, findings = diagnose(capsys, tiny, "--decode", "--nproc", "1")
    assert status == 0
    text = [f["message"] for f in findings if f["area"] == "data"]
    assert "3 images" in text[0]
    assert "3 labels" in text[0]
    assert "all files can be read" in text[1]


def test_a_missing_label_is_named(tiny, capsys):
    (tiny.parent / "ids" / "2.png").unlink()
    status, findings = diagnose(capsys, tiny)
    assert status == 1
    assert any("1 labels are missing" in f["message"] for f in findings)


def test_every_broken_file_is_named_with_its_fix(tiny, capsys):
    image = tiny.parent / "rgb" / "0.png"
    image.write_bytes(image.read_bytes()[:40])
    Image.new("L", (6, 4), 77).save(tiny.parent / "ids" / "1.png")
    Image.new("L", (5, 4), 3).save(tiny.parent / "ids" / "2.png")
    status, findings = diagnose(capsys, tiny, "--decode", "--nproc", "1")
    problems = [f for f in findings if f["level"] == "problem"]
    assert status == 1
    assert len(problems) == 3
    assert all(f["fix"] for f in problems)
    text = " ".join(f["message"] for f in problems)
    for part in ("rgb/0.png", "ids/1.png", "id 77", "ids/2.png", "5x4"):
        assert part in text


def test_a_missing_folder_and_missing_weights_are_named(tiny, capsys, monkeypatch):
    shutil.rmtree(tiny.parent / "rgb")
    weights = dict(type="BackboneWeights", checkpoint="no_such_weights")
    with tiny.open("a") as file:
        file.write(f"\nmodel = dict(backbone=dict(init_cfg={weights!r}))\n")
    status, findings = diagnose(capsys, tiny)
    problems = {f["area"]: f["message"] for f in findings if f["level"] == "problem"}
    assert status == 1
    assert "rgb" in problems["data"]
    assert "no_such_weights" in problems["weights"]


def test_an_unreadable_config_is_a_finding_and_an_absent_one_an_error(tiny, capsys):
    tiny.write_text("model = dict(\n")
    status, findings = diagnose(capsys, tiny)
    assert status == 1
    assert any(f["area"] == "config" and "tiny.py" in f["message"] for f in findings)
    with pytest.raises(UserError, match="nowhere.py"):
        cli.main(["nowhere.py"])


def test_the_table_for_people(tiny, capsys):
    assert cli.main([str(tiny)]) == 0
    assert "All is well." in capsys.readouterr().out


def test_foundation_models_that_cannot_be_loaded_are_named(tmp_path):
    folder = str(tmp_path / "clip")
    config = {"uda": {"relabel": {"classifier": {"type": "OpenClip", "checkpoint": folder}}}}
    (missing,) = preflight.missing_foundation([config, config])
    assert missing.path == folder
    assert missing.fix
