"""Faults planted in a sound installation: the doctor names each of them, with its fix.

Acceptance of the doctor: every function below plants one fault in real files.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image
from tiny_data import write_image, write_label

import mmseg_uda.models  # noqa: F401
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor import cli
from mmseg_uda.labels.conversion import count_classes, write_statistics

ROOT = Path(__file__).resolve().parents[2]
BACKBONE = dict(type="NanoBackbone", stem_channels=8, channels=(8, 12, 16, 24))
PIPELINE = [dict(type="LoadFrame"), dict(type="LoadTrainIds"), dict(type="PackFields")]


class Place:
    """A folder with data, weights and a config, all sound, and the doctor's view of it."""

    def __init__(self, root, monkeypatch, capsys):
        self.root, self.monkeypatch, self.capsys = root, monkeypatch, capsys
        self.site = root / "site"  # stands before site-packages
        self.site.mkdir()
        monkeypatch.syspath_prepend(str(self.site))
        monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(root / "data"))
        monkeypatch.setenv("MMSEG_UDA_PRETRAINED_ROOT", str(root / "pretrained"))
        monkeypatch.setenv("MMSEG_UDA_CACHE", str(root / "cache"))
        # the hub is not asked: it would retry, or answer
        monkeypatch.setattr(preflight, "settle_for_cache_when_offline", lambda: None)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        self.gta, self.cityscapes = root / "data/gta", root / "data/cityscapes"
        labels = []
        for i in range(3):
            write_image(self.gta / f"images/{i}.png", seed=i)
            labels.append(self.gta / f"labels/{i}_labelTrainIds.png")
            write_label(labels[-1], np.tile(np.arange(60) // 5 + 4 * i, (40, 1)) % 19)
            write_image(self.cityscapes / f"leftImg8bit/train/a/a_{i}_leftImg8bit.png", seed=9 + i)
            name = f"ulm/ulm_{i}"
            write_image(self.cityscapes / f"leftImg8bit/val/{name}_leftImg8bit.png", seed=20 + i)
            write_label(
                self.cityscapes / f"gtFine/val/{name}_gtFine_labelTrainIds.png",
                np.tile(np.arange(60) % 19, (40, 1)),
            )
        write_statistics(
            self.gta, [(p, count_classes(np.asarray(Image.open(p)), 255)) for p in labels]
        )
        self.weights = root / "pretrained/small_encoder.pth"
        self.weights.parent.mkdir()
        torch.save(MODELS.build(BACKBONE).state_dict(), self.weights)
        self.config = root / "job.py"
        self.write_config()

    def write_config(self, **backbone):
        init = dict(type="BackboneWeights", checkpoint="small_encoder")
        Config(
            dict(
                model=dict(backbone={**BACKBONE, "init_cfg": init, **backbone}),
                train_dataloader=dict(
                    dataset=dict(
                        type="DomainPairDataset",
                        source=dict(type="GTA", pipeline=PIPELINE),
                        target=dict(type="Cityscapes", images_only=True, pipeline=PIPELINE),
                    )
                ),
                val_dataloader=dict(
                    dataset=dict(type="Cityscapes", split="val", pipeline=PIPELINE)
                ),
            )
        ).dump(self.config)

    def install(self, name, version):
        """What pip leaves behind when it installs a distribution."""
        folder = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )

    def diagnose(self, *arguments):
        """Exit status and findings of a full check."""
        status = cli.main([str(self.config), "--decode", "--nproc", "1", "--json", *arguments])
        return status, json.loads(self.capsys.readouterr().out)


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    return Place(tmp_path, monkeypatch, capsys)


def both_openmmlab_families(place):
    place.install("mmcv", "2.1.0")
    return "onedl-mmcv and mmcv are both installed", "pip uninstall -y onedl-mmcv mmcv &&"


def torchvision_of_another_build(place):
    """The import fails, as it does with a CPU build of torch and the plain torchvision."""
    place.install("torchvision", "0.19.0+cu121")
    place.monkeypatch.setitem(sys.modules, "torchvision", None)
    return "needs torchvision 0.", "pip uninstall -y torch torchvision && pip install"


def gpu_without_a_torch_that_uses_it(place):
    """A driver is there, torch sees no GPU."""
    tool = place.root / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = -L ]; then echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"; exit; fi\n'
        'echo "| NVIDIA-SMI 470.1   Driver Version: 470.1   CUDA Version: 11.4 |"\n'
    )
    tool.chmod(0o755)
    place.monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    place.monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return "this machine has NVIDIA H100 80GB HBM3, but torch", "CUDA 11.4 or lower"


def two_releases_of_opencv(place):
    place.install("opencv-contrib-python", "4.5.1")
    return "overwrite each other's files in 'cv2'", "opencv-contrib-python"


def a_package_that_cannot_be_imported(place):
    place.monkeypatch.setitem(sys.modules, "open_clip", None)
    return "open_clip cannot be imported", "pip install -e .[test] -c constraints.txt"


def a_misspelt_name_of_weights(place):
    place.write_config(init_cfg=dict(type="BackboneWeights", checkpoint="smal_encoder"))
    return "pretrained weights 'smal_encoder' not found", "did you mean 'small_encoder'?"


def truncated_weights(place):
    place.weights.write_bytes(place.weights.read_bytes()[:2000])
    return f"{place.weights} is damaged", "Copy or download the file again"


def weights_of_another_encoder(place):
    place.write_config(channels=(8, 12, 16, 32))
    return "does not fit the encoder NanoBackbone", "Choose the weights of this variant"


def a_truncated_image(place):
    path = place.gta / "images/1.png"
    path.write_bytes(path.read_bytes()[:300])
    return f"{path} cannot be decoded", "Copy or download the file again"


def a_label_of_another_size(place):
    path = place.cityscapes / "gtFine/val/ulm/ulm_1_gtFine_labelTrainIds.png"
    write_label(path, np.zeros((40, 61)))
    return f"{path} has 61x40 pixels, its image has 60x40", "replace them by files of equal size"


def an_id_outside_the_taxonomy(place):
    path = place.cityscapes / "gtFine/val/ulm/ulm_2_gtFine_labelTrainIds.png"
    write_label(path, np.full((40, 60), 33))
    return f"{path} holds id 33", "tools/convert_datasets"


def an_image_without_label(place):
    path = place.cityscapes / "gtFine/val/ulm/ulm_2_gtFine_labelTrainIds.png"
    path.unlink()
    return f"1 labels are missing, e.g. {path}", "python tools/convert_datasets/cityscapes.py"


def a_training_image_in_the_validation_split(place):
    """The same picture under another name and compression."""
    image = cv2.imread(str(place.cityscapes / "leftImg8bit/val/ulm/ulm_0_leftImg8bit.png"))
    copy = place.cityscapes / "leftImg8bit/train/a/a_7_leftImg8bit.png"
    cv2.imwrite(str(copy), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return "1 training images of Cityscapes", f"rm {copy}"


def statistics_of_other_labels(place):
    """Labels converted again after the statistics were written."""
    write_label(place.gta / "labels/2_labelTrainIds.png", np.full((40, 60), 13))
    file = place.gta / "sample_class_stats.json"
    return (
        f"{file} belongs to other labels than those of GTA",
        "python tools/convert_datasets/gta.py",
    )


def a_missing_data_set(place):
    (place.cityscapes / "leftImg8bit").rename(place.root / "elsewhere")
    return f"Cityscapes: {place.cityscapes}/leftImg8bit/train is missing", "leftImg8bit_trainvalt"


def a_config_that_cannot_be_read(place):
    place.config.write_text("model = dict(\n")
    return f"{place.config} cannot be read as a config", "Correct the file"


FAULTS = [
    both_openmmlab_families,
    torchvision_of_another_build,
    gpu_without_a_torch_that_uses_it,
    two_releases_of_opencv,
    a_package_that_cannot_be_imported,
    a_misspelt_name_of_weights,
    truncated_weights,
    weights_of_another_encoder,
    a_truncated_image,
    a_label_of_another_size,
    an_id_outside_the_taxonomy,
    an_image_without_label,
    a_training_image_in_the_validation_split,
    statistics_of_other_labels,
    a_missing_data_set,
    a_config_that_cannot_be_read,
]


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found_with_its_fix(place, plant):
    message, fix = plant(place)
    status, findings = place.diagnose()
    assert status == 1
    problems = [f for f in findings if f["level"] == "problem"]
    found = [f for f in problems if message in f["message"]]
    assert found, problems
    assert all(fix in f["fix"] for f in found)
    assert all(f["fix"] for f in problems)
    # the same for people
    assert cli.main([str(place.config), "--decode", "--nproc", "1"]) == 1
    shown = place.capsys.readouterr().out
    assert message in shown and fix in shown


def test_without_a_fault_it_exits_with_0(place):
    status, findings = place.diagnose()
    assert [f for f in findings if f["level"] in ("problem", "warning")] == []
    assert status == 0
    told = " ".join(f["message"] for f in findings)
    for part in (
        "all files can be read",
        "sample_class_stats.json fits the labels of GTA",
        "small_encoder.pth covers the encoder NanoBackbone",
        "all weights are there and fit",
        "3 images",
    ):
        assert part in told


def test_the_command_on_this_installation():
    """As users call it; nothing but JSON on the standard output."""
    done = subprocess.run(
        [sys.executable, "tools/doctor.py", "--json"], cwd=ROOT, capture_output=True, text=True
    )
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert {"area", "level", "message", "fix", "details"} == findings[0].keys()
