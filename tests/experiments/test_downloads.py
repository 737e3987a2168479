"""What a table has to download, against networks and rows."""

import open_clip
import pytest
import timm
import torch
from mmengine.config import Config
from segment_anything import sam_model_registry
from transformers import CLIPConfig, CLIPModel, OwlViTConfig, OwlViTForObjectDetection

from mmseg_uda.experiments.downloads import PARAMETERS, download_lines, weights
from mmseg_uda.experiments.grid import find_experiment


def convnext():
    settings = open_clip.get_model_config("convnext_large_d_320")
    return open_clip.CLIP(**{k: settings[k] for k in ("embed_dim", "vision_cfg", "text_cfg")})


# the defaults of transformers' two are the published networks
NETWORKS = {
    "owlvit": lambda: OwlViTForObjectDetection(OwlViTConfig()),
    "openai/clip-vit-base-patch32": lambda: CLIPModel(CLIPConfig()),
    "convnext_large_d_320": convnext,
    "vit_h": sam_model_registry["vit_h"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_are_those_of_the_networks(name):
    with torch.device("meta"):
        network = NETWORKS[name]() if name in NETWORKS else timm.create_model(name, num_classes=0)
    counted = sum(p.numel() for p in network.parameters())
    assert counted == pytest.approx(PARAMETERS[name] * 1e6, rel=0.01)


def lines(tables, number):
    return download_lines(row.resolved for row in find_experiment(tables, number).rows)


def test_weights_and_data_of_a_table_are_told_once(tables, monkeypatch, tmp_path):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path))
    first, *data = lines(tables, 90)
    assert first.startswith("Weights: mit_b5 (325.8 MB), owlvit (612.8 MB), openai/clip-vit-base-")
    assert [line.split(":")[1] for line in data] == [" SYNTHIA", " Cityscapes"]
    assert "synthia-dataset.net" in data[0] and str(tmp_path / "synthia") in data[0]


def test_what_alignments_and_depth_need(tables, monkeypatch, tmp_path):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path))
    assert "vit_h (2.6 GB), convnext_large_d_320 (1.4 GB)" in lines(tables, 600)[0]
    depth = [line for line in lines(tables, 301) if line.startswith("Data: Cityscapes depth: ")]
    assert len(depth) == 1 and "render_depth.py" in depth[0]


def test_data_that_are_there_need_no_download(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "1.png").touch(), (tmp_path / "labels" / "1_labelTrainIds.png").touch()
    dataset = dict(type="GTA", data_root=str(tmp_path))
    assert download_lines([dict(val_dataloader=dict(dataset=dataset))]) == [
        f"Data: GTA: is in {tmp_path}"
    ]


def test_weights_of_unknown_size():
    backbone = dict(type="Mine", init_cfg=dict(type="BackboneWeights", checkpoint="mine"))
    config = Config(dict(model=dict(backbone=backbone))).to_dict()
    assert list(weights(config)) == [("mine", 0.0)]
    assert "mine (size unknown)" in download_lines([config])[0]
