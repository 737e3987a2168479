"""Configs of mmsegmentation 0.x beside released checkpoints."""

import json

import cv2
import numpy as np
import pytest
import torch
from pinned_weights import build_reference, pinned_tensor, reference_case
from released_configs import NORM, cityscapes, dump, legacy, test_pipeline

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.apis import init_segmentor, predict
from mmseg_uda.engine.config_file import load_config, load_network_config
from mmseg_uda.engine.testing import test_checkpoint as evaluate
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.released import is_released


def write(path, content):
    if path.suffix == ".json":
        path.write_text(json.dumps(content))
    else:
        path.write_text("".join(f"{key} = {value!r}\n" for key, value in content.items()))
    return path


def released_checkpoint(case, path):
    """Student and teacher in the published names."""
    _, shapes = reference_case(case)
    state = {f"model.{k}": pinned_tensor(k, shape) for k, shape in shapes.items()}
    state |= {f"ema_model.{k}": pinned_tensor(f"ema.{k}", shape) for k, shape in shapes.items()}
    torch.save({"meta": {}, "state_dict": state}, path)
    return path


def world(root, count=2):
    """Cityscapes' layout with frames of 96x64 pixels."""
    for i in range(count):
        draw = np.random.RandomState(i)
        image = root / f"leftImg8bit/val/city/city_{i}_leftImg8bit.png"
        label = root / f"gtFine/val/city/city_{i}_gtFine_labelTrainIds.png"
        for path, array in (
            (image, draw.randint(0, 256, (64, 96, 3), np.uint8)),
            (label, draw.randint(0, 19, (64, 96), np.uint8)),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), array)
    return root


@pytest.mark.parametrize(
    ("case", "suffix"),
    [("hrda_daformer", ".json"), ("daformer", ".py"), ("segformer", ".json"), ("dlv2", ".py")],
)
def test_a_released_pair_predicts_as_the_network_does(case, suffix, tmp_path):
    net, _ = reference_case(case)
    config = write(tmp_path / f"seg{suffix}", dump(legacy(net), tmp_path, size=(128, 128)))
    model = init_segmentor(config, released_checkpoint(case, tmp_path / "iter_40000.pth"), "cpu")
    image = np.random.RandomState(3).randint(0, 256, (128, 128, 3), np.uint8)
    prediction = predict(model, image, logits=True)
    mean, std = (torch.tensor(NORM[key]).view(3, 1, 1) for key in ("mean", "std"))
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).float()
    reference = build_reference(case)
    with torch.no_grad():
        expected = reference.inference(
            ((rgb - mean) / std)[None], [dict(ori_shape=(128, 128), img_shape=(128, 128))]
        )
    assert np.abs(prediction.logits - expected[0].numpy()).max() < 1e-4
    assert model.dataset_meta["classes"][0] == "road"


def test_evaluation_reads_the_data_of_the_config(tmp_path):
    net, _ = reference_case("segformer")
    content = dump(net, world(tmp_path / "cs"), size=(96, 64))
    cfg = load_network_config(write(tmp_path / "released.json", content))
    dataset = cfg.test_dataloader.dataset
    assert (dataset.type, dataset.split) == ("Cityscapes", "val")
    assert [step["type"] for step in dataset.pipeline] == [
        *("LoadFrame", "ResizeFields", "LoadTrainIds", "PackFields"),
    ]
    assert cfg.model.data_preprocessor.mean == NORM["mean"]
    assert tuple(cfg.crop_size) == (512, 512)
    cfg.work_dir, cfg.launcher = str(tmp_path / "work"), "none"
    metrics = evaluate(cfg, released_checkpoint("segformer", tmp_path / "iter.pth"))
    assert 0 <= metrics["mIoU"] <= 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            dict(type="ACDCDataset", img_dir="rgb_anon/val", ann_dir="gt/val"),
            dict(type="ACDC", split="val"),
        ),
        (
            dict(type="ACDCDataset", img_dir="rgb_anon/test", ann_dir="gt/test"),
            dict(type="ACDC", split="test", images_only=True),
        ),
        (
            dict(type="DarkZurichDataset", img_dir="rgb_anon/val", ann_dir="gt/val"),
            dict(type="DarkZurich", split="val"),
        ),
        (
            dict(type="GTADataset", img_dir="some/images", ann_dir="some/labels", split="a.txt"),
            dict(type="GTA", img_dir="some/images", label_dir="some/labels", file_list="a.txt"),
        ),
        (
            dict(type="MapillaryDataset", img_dir="validation/images", ann_dir="validation/labels"),
            dict(
                type="TaxonomyDataset",
                img_dir="validation/images",
                label_dir="validation/labels",
                img_suffix=".jpg",
                label_suffix="_labelTrainIds.png",
            ),
        ),
        (
            dict(type="CustomDataset", img_dir="i", ann_dir="l", img_suffix=".tif"),
            dict(
                type="TaxonomyDataset",
                img_dir="i",
                label_dir="l",
                img_suffix=".tif",
                label_suffix=".png",
            ),
        ),
    ],
)
def test_data_sets(changes, expected, tmp_path):
    content = dump(reference_case("segformer")[0], "data/somewhere/")
    content["data"]["test"] = {**cityscapes("data/somewhere/"), **changes}
    cfg = load_network_config(write(tmp_path / "released.py", content))
    dataset = cfg.test_dataloader.dataset.to_dict()
    del dataset["pipeline"], dataset["test_mode"]
    assert dataset == {"data_root": "data/somewhere", **expected}
    assert cfg.test_evaluator.get("format_only", False) == ("images_only" in expected)


def test_options_of_the_released_and_of_the_translated_config(tmp_path):
    path = write(tmp_path / "released.json", dump(reference_case("segformer")[0], "data/cs"))
    options = ["data.test.data_root=elsewhere", "model.test_cfg.mode=slide", "work_dir=here"]
    cfg = load_network_config(path, options)
    assert cfg.test_dataloader.dataset.data_root == "elsewhere"
    assert (cfg.model.test_cfg.mode, cfg.work_dir) == ("slide", "here")


@pytest.mark.parametrize("suffix", [".json", ".py"])
def test_it_is_not_trained(suffix, tmp_path):
    path = write(tmp_path / f"released{suffix}", dump(reference_case("segformer")[0], "data/cs"))
    for read in (load_config, plain_config):  # as trainings read it, and as the doctor does
        with pytest.raises(UserError, match=r"released.* is a config of mmsegmentation 0") as error:
            read(path)
        assert "tools/test.py" in error.value.fix


def test_configs_of_this_project_are_not_taken_for_released_ones():
    from mmengine.config import Config
    from small import MODEL_CONFIGS

    for path in sorted(MODEL_CONFIGS.parents[1].glob("[a-z]*/*.py")):
        assert not is_released(Config.fromfile(path)), path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].update(extra=1), r"model\.extra of the released config"),
        (lambda c: c["model"]["backbone"].update(freeze_patch_embed=True), "freeze_patch_embed"),
        (lambda c: c["model"]["backbone"].update(type="SwinWhat"), r"model\.backbone\.type"),
        (lambda c: c["model"]["decode_head"].update(odd=2), r"model\.decode_head\.odd"),
        (lambda c: c["model"]["test_cfg"].update(flip=1), r"model\.test_cfg\.flip"),
        (lambda c: c["data"]["test"].update(reduce_zero_label=True), "reduce_zero_label"),
        (lambda c: c["data"]["test"].update(ignore_index=0), "ignore_index=0"),
        (lambda c: c["data"]["test"].update(depth_dir="d"), r"data\.test\.depth_dir"),
        (lambda c: c["data"]["test"].update(type="ADE20KDataset"), "ADE20KDataset"),
        (
            lambda c: c["data"]["test"].update(type="CustomDataset", classes=["a", "b"]),
            r"data\.test\.classes",
        ),
        (
            lambda c: c["data"]["test"]["pipeline"].append(dict(type="Pad", size_divisor=32)),
            r"data\.test\.pipeline\[2\]: Pad",
        ),
        (
            lambda c: c["data"]["test"]["pipeline"][1].update(flip=True),
            r"pipeline\[1\] averages over views",
        ),
        (
            lambda c: c["data"]["test"]["pipeline"][1].update(img_scale=[[1, 2], [3, 4]]),
            "img_scale",
        ),
        (lambda c: c["data"]["test"]["pipeline"][1].update(transforms=7), "not iterable"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(change, message, tmp_path):
    content = dump(reference_case("segformer")[0], "data/cs")
    change(content)
    with pytest.raises(UserError, match=rf"released\.json.*{message}"):
        load_network_config(write(tmp_path / "released.json", content))


def test_json_is_data(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = dump(reference_case("segformer")[0], "data/cs")
    for key, value in (
        ("backbone", dict(type="os.mkdir", path=str(tmp_path / "ran"))),
        ("backbone", dict(type="stranger.Encoder")),
        ("decode_head", dict(type="stranger.Head")),
    ):
        changed = {**content, "model": {**content["model"], key: value}}
        with pytest.raises(UserError, match=r"released\.json"):
            load_network_config(write(tmp_path / "released.json", changed))
    # What the translation passes on.
    layer = dict(type="os.mkdir", path=str(tmp_path / "ran"))
    head = {**content["model"]["decode_head"], "act_cfg": layer}
    changed = {**content, "model": {**content["model"], "decode_head": head}}
    with pytest.raises(UserError, match=r"released\.json .*act_cfg.type is 'os.mkdir', which"):
        load_network_config(write(tmp_path / "released.json", changed))
    content |= {"custom_imports": {"imports": ["stranger"]}, "_base_": ["stranger.py"]}
    load_network_config(write(tmp_path / "released.json", content))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"model": {}}', "null", '{"a": NaN'])
def test_other_json_is_one_message(text, tmp_path):
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(UserError, match=r"odd\.json"):
        load_network_config(tmp_path / "odd.json")


def test_a_config_of_the_network_alone(tmp_path):
    net, _ = reference_case("daformer")
    content = dict(model=legacy(net), test_pipeline=test_pipeline((128, 128)), img_norm_cfg=NORM)
    config = write(tmp_path / "daformer.json", content)
    model = init_segmentor(config, released_checkpoint("daformer", tmp_path / "iter.pth"), "cpu")
    assert predict(model, np.zeros((40, 50, 3), np.uint8)).label.shape == (40, 50)
