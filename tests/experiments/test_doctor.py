import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from nano import nano_config
from PIL import Image
from vfm import vit

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor import cli
from mmseg_uda.experiments.doctor.cuda import Driver, check_driver
from mmseg_uda.experiments.doctor.installation import (
    check_families,
    check_installation,
    check_opencv,
    check_torch_pair,
)
from mmseg_uda.experiments.doctor.weights import check_weights
from mmseg_uda.findings import Finding, Level
from mmseg_uda.models.weights.published import write_weights
from mmseg_uda.taxonomy import load_taxonomy, taxonomy_text


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
    data["pipeline"] = [dict(type=name) for name in ("LoadFrame", "LoadTrainIds", "PackFields")]
    path = tmp_path / "tiny.py"
    pair = dict(type="DomainPairDataset", source=data)
    Config(dict(train_dataloader=dict(dataset=pair), model={})).dump(str(path))
    monkeypatch.setattr(cli, "check_installation", lambda: [Finding("installation", Level.OK, "")])
    monkeypatch.setattr(preflight, "settle_for_cache_when_offline", lambda: None)
    return path


def test_without_network_the_cache_is_chosen_before_a_package_asks_the_hub(
    tiny, monkeypatch, capsys
):
    calls = []
    monkeypatch.setattr(preflight, "settle_for_cache_when_offline", lambda: calls.append("settle"))
    monkeypatch.setattr(cli, "check_installation", lambda: calls.append("import") or [])
    diagnose(capsys, tiny)
    assert calls == ["settle", "import"]


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
    told = capsys.readouterr().out
    assert "! Warning: TaxonomyDataset" in told and "show one value only" in told
    assert told.endswith("Problems: 0, warnings: 2\n")  # blank images; one of 19 classes


@pytest.mark.parametrize("adapter", [None, dict(type="soma", rank=2)])
def test_licence_and_fit_of_a_foundation_models_weights(tmp_path, adapter):
    state = MODELS.build(vit("vit_small_patch16_dinov3")).state_dict()
    del state["mask_token"]  # as in timm's files
    path = tmp_path / "tiny.lvd1689m.pth"
    torch.save(state, path)
    options = dict(trainable="adapters", adapter=adapter) if adapter else {}
    init = dict(type="BackboneWeights", checkpoint=str(path))
    backbone = vit("vit_small_patch16_dinov3", init_cfg=init, **options)
    finding, _ = check_weights([dict(model=dict(backbone=backbone))])
    assert finding.level is Level.OK
    told = "covers the encoder TimmViT. Licence of these weights: dinov3-license."
    assert finding.message.endswith(told)
    del state["norm.bias"]
    torch.save(state, path)
    (finding,) = check_weights([dict(model=dict(backbone=backbone))])
    assert finding.level is Level.PROBLEM and "1 missing: norm.bias" in finding.message


def test_foundation_models_that_cannot_be_loaded_are_named(tmp_path):
    folder = str(tmp_path / "clip")
    config = {"uda": {"relabel": {"classifier": {"type": "OpenClip", "checkpoint": folder}}}}
    (missing,) = preflight.missing_foundation([config, config])
    assert missing.path == folder
    assert missing.fix


def test_models_of_an_alignment_are_named_with_files_folder_and_source(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    sam = {"type": "SegmentAnythingProposer", "model_type": "vit_b", "checkpoint": "my_sam.pth"}
    configs = [{"alignment": {"taxonomy": "idd_v5"}}, {"alignment": {"proposer": sam}}]
    proposer, scorer, published = preflight.missing_foundation(configs)
    assert "config.json and model.safetensors" in proposer.fix
    assert "hf download facebook/sam-vit-huge --local-dir pretrained/sam-vit-huge" in proposer.fix
    assert "open_clip_model.safetensors" in scorer.fix and "hf download laion/CLIP-" in scorer.fix
    assert published.path == "my_sam.pth"
    assert "segment_anything/sam_vit_b_01ec64.pth into pretrained/" in published.fix


def test_an_alignment_without_weights_misses_nothing():
    parts = {"proposer": {"type": "GridProposer"}, "scorer": {"type": "ToyScorer"}}
    assert preflight.missing_foundation([{"alignment": parts}]) == []
    with pytest.raises(UserError, match="taxonomi"):
        preflight.missing_foundation([{"alignment": {"taxonomi": "idd_v5"}}])


def test_the_source_model_of_an_alignment_is_compared_with_its_network(tmp_path):
    parts = {"proposer": {"type": "GridProposer"}, "scorer": {"type": "ToyScorer"}}
    (tmp_path / "source.py").write_text(f"model = {nano_config()!r}\n")
    torch.save(MODELS.build(nano_config()).state_dict(), tmp_path / "fits.pth")
    torch.save(
        {"state_dict": {"decode_head.conv_seg.bias": torch.zeros(7)}}, tmp_path / "other.pth"
    )

    def check(config="source.py", checkpoint="fits.pth"):
        source = {"config": str(tmp_path / config), "checkpoint": str(tmp_path / checkpoint)}
        (finding, *_) = check_weights([{"alignment": parts, "source": source}])
        return finding

    published = tmp_path / "published"
    published.mkdir()
    weights = torch.load(tmp_path / "fits.pth", weights_only=True)
    write_weights(published / "model.safetensors", weights, {})
    (published / "config.py").write_text((tmp_path / "source.py").read_text())
    (published / "taxonomy.yaml").write_text(taxonomy_text(load_taxonomy("cityscapes19")))
    for config in ("source.py", "published"):
        found = check(config, "published")
        assert found.level is Level.OK and "published fits the network" in found.message

    assert check().level is Level.OK and "fits.pth fits the network" in check().message
    for options in ({"config": "no.py"}, {"checkpoint": "no.pth"}, {"checkpoint": "other.pth"}):
        finding = check(**options)
        assert finding.level is Level.PROBLEM and finding.fix
        if "other" not in str(options):
            assert next(iter(options.values())) in finding.message
    assert "source.checkpoint" in check(checkpoint="other.pth").message


class TestDriver:
    """Why torch sees no GPU."""

    H100 = Driver(("NVIDIA H100",), "12.4")

    @pytest.mark.parametrize(
        ("driver", "build", "message", "fix"),
        [
            (None, "12.6", "no GPU", "--profile mini"),
            (H100, None, "torch 2.11.0+cpu is a CPU build", "CUDA 12.4 or lower"),
            (H100, "13.0", "needs CUDA 13.0, the driver supports up to 12.4", "Update the NVIDIA"),
            # releases of one major number run on every driver of it
            (H100, "12.8", "sees none of them", "CUDA_VISIBLE_DEVICES"),
        ],
    )
    def test_it_is_told(self, driver, build, message, fix):
        (finding,) = check_driver(driver, f"2.11.0{'+cpu' if build is None else ''}", build)
        assert message in finding.message
        assert fix in finding.fix
        assert finding.level is (Level.NOTE if driver is None else Level.PROBLEM)


def test_builds_of_opencv():
    assert check_opencv({"opencv-python": "5.0.0", "numpy": "2"}) == []
    (finding,) = check_opencv({"opencv-python": "5.0.0", "opencv-python-headless": "5.0.0"})
    assert finding.level is Level.NOTE
    (finding,) = check_opencv({"opencv-python": "5.0.0", "opencv-python-headless": "4.5.1"})
    assert finding.level is Level.PROBLEM
    assert "pip uninstall -y opencv-python opencv-python-headless &&" in finding.fix


class TestContent:
    """What is told of sound files."""

    def test_classes_are_counted_and_drawn(self, tiny, capsys):
        Image.new("L", (6, 4), 255).save(tiny.parent / "ids" / "1.png")
        _, findings = diagnose(capsys, tiny, "--decode", "--nproc", "1")
        (counted,) = [f["details"]["pixels"] for f in findings if "pixels" in f["details"]]
        assert (counted["wall"], counted["unlabelled"], counted["road"]) == (48, 24, 0)
        (absent,) = [f["details"]["absent"] for f in findings if "absent" in f["details"]]
        assert "road" in absent and "wall" not in absent and len(absent) == 18
        cli.main([str(tiny), "--decode", "--nproc", "1"])
        text = capsys.readouterr().out
        wall, unlabelled = (
            next(line for line in text.splitlines() if line.split()[:1] == [name])
            for name in ("wall", "unlabelled")
        )
        assert "66.6667 %" in wall and "33.3333 %" in unlabelled
        assert wall.count("█") > unlabelled.count("█") > 0

    def test_copies_inside_a_data_set_are_noted(self, tiny, capsys):
        status, findings = diagnose(capsys, tiny, "--decode", "--nproc", "1")
        (copies,) = [f for f in findings if "copies" in f["details"]]
        assert copies["level"] == "note" and status == 0
        assert copies["details"]["copies"] == [["0.png", "1.png", "2.png"]]

    def test_labels_without_image_are_noted(self, tmp_path, tiny, capsys):
        Image.new("L", (6, 4), 3).save(tmp_path / "ids" / "9_ids.png")
        for number in range(3):
            (tmp_path / "ids" / f"{number}.png").rename(tmp_path / "ids" / f"{number}_ids.png")
        with tiny.open("a") as file:
            file.write("\ntrain_dataloader['dataset']['source']['label_suffix'] = '_ids.png'\n")
        status, findings = diagnose(capsys, tiny)
        (orphans,) = [f for f in findings if "labels_without_image" in f["details"]]
        assert orphans["details"]["labels_without_image"] == ["9_ids.png"] and status == 0

    def test_training_and_evaluation_on_one_folder_is_noted(self, tiny, capsys):
        with tiny.open("a") as file:
            file.write("\nval_dataloader = dict(dataset=train_dataloader['dataset']['source'])\n")
        status, findings = diagnose(capsys, tiny, "--decode", "--nproc", "1")
        assert status == 0
        assert sum("read for training and for evaluation" in f["message"] for f in findings) == 1

    def test_our_own_counts_are_compared(self, tiny, tmp_path, capsys):
        """Labels replaced by others of the same size and time, as copying tools may do."""
        from mmseg_uda.datasets import TaxonomyDataset, class_pixel_counts

        dataset = dict(data_root=str(tmp_path), img_dir="rgb", label_dir="ids")
        class_pixel_counts(TaxonomyDataset(**dataset))
        assert diagnose(capsys, tiny)[0] == 0
        label = tmp_path / "ids" / "2.png"
        before = label.stat()
        Image.new("L", (6, 4), 5).save(label)
        assert label.stat().st_size == before.st_size
        os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
        for arguments in ([], ["--decode", "--nproc", "1"]):
            status, findings = diagnose(capsys, tiny, *arguments)
            (problem,) = [f for f in findings if f["level"] == "problem"]
            assert status == 1
            assert "belongs to other labels" in problem["message"]
            assert problem["details"]["differing"] == ["2.png"]
            assert "Delete" in problem["fix"]

    def test_unreadable_statistics_are_told(self, tiny, tmp_path, capsys):
        (tmp_path / "sample_class_stats.json").write_text("[{]")
        status, findings = diagnose(capsys, tiny)
        assert status == 1
        assert any("is not a list of class counts" in f["message"] for f in findings)

    def test_a_label_map_may_be_a_dict(self, tiny, capsys):
        with tiny.open("a") as file:
            file.write("\ntrain_dataloader['dataset']['source']['label_map'] = {3: 1, 7: 255}\n")
        for arguments in ([], ["--decode", "--nproc", "1"]):
            assert diagnose(capsys, tiny, *arguments)[0] == 0

    def test_a_wrong_taxonomy_is_a_finding(self, tiny, capsys):
        with tiny.open("a") as file:
            file.write("\ntrain_dataloader['dataset']['source']['taxonomy'] = 'nope'\n")
        status, findings = diagnose(capsys, tiny)
        assert status == 1
        assert any("No taxonomy 'nope'" in f["message"] and f["fix"] for f in findings)


class TestStart:
    """``load_from``."""

    @pytest.fixture
    def network(self, tiny):
        with tiny.open("a") as file:
            file.write(
                f"\nmodel = {nano_config(19)!r}\nload_from = {str(tiny.parent / 'w.pth')!r}\n"
            )
        return nano_config(19)

    def test_a_checkpoint_that_fits(self, network, tiny, capsys):
        torch.save(MODELS.build(network).state_dict(), tiny.parent / "w.pth")
        status, findings = diagnose(capsys, tiny)
        assert status == 0
        assert any("w.pth fits the network" in f["message"] for f in findings)

    def test_one_that_does_not(self, network, tiny, capsys):
        network["decode_head"]["num_classes"] = 7
        torch.save(MODELS.build(network).state_dict(), tiny.parent / "w.pth")
        status, findings = diagnose(capsys, tiny)
        assert status == 1
        assert any("load_from" in f["message"] and "(7,)" in f["message"] for f in findings)

    def test_one_that_is_missing(self, network, tiny, capsys):
        status, findings = diagnose(capsys, tiny)
        assert status == 1
        assert any("no such weights" in f["message"] for f in findings)


def test_modules_of_a_config_are_imported(tiny, capsys):
    with tiny.open("a") as file:
        file.write("\ncustom_imports = dict(imports=['no_such_module_of_mine'])\n")
    status, findings = diagnose(capsys, tiny)
    assert status == 1
    (finding,) = [f for f in findings if "no_such_module_of_mine" in f["message"]]
    assert finding["area"] == "config" and "custom_imports" in finding["fix"]


def test_the_doctor_imports_no_torch():
    """It has to run where torch is broken."""
    code = (
        "import sys; import mmseg_uda.experiments.doctor.cli; "
        "assert 'torch' not in sys.modules and 'mmengine' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
