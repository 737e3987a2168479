"""Depth Anything V2 with a tiny random model of the real library, and the tool that uses it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from child import run_script
from tiny_data import write_image

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.depth_anything import DepthAnything, Preparation, quantize
from mmseg_uda.foundation.depth_files import render_depth
from mmseg_uda.labels import read_depth
from mmseg_uda.taxonomy import DataLocation

ROOT = Path(__file__).parents[2]


def save(folder, **options):
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
        **options,
    )
    torch.manual_seed(0)
    model = DepthAnythingForDepthEstimation(config)
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("depth_anything"))


@pytest.fixture
def model(folder):
    return DepthAnything(str(folder), input_side=56)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((1024, 2048), (518, 1036)),
        ((1052, 1914), (518, 938)),  # 942.4 / 14 = 67.3
        ((760, 1280), (518, 868)),  # 872.4 / 14 = 62.3
        ((1080, 1920), (518, 924)),  # 920.9 / 14 = 65.8
        ((100, 100), (518, 518)),
        ((300, 200), (784, 518)),  # 777 / 14 = 55.5, to even
    ],
)
def test_input_sizes(image, expected):
    assert Preparation(518, 14).input_size(*image) == expected


def test_a_side_is_never_too_short():
    assert Preparation(100, 14).input_size(100, 100) == (112, 112)


def test_the_input_is_normalised_rgb():
    image = np.zeros((28, 42, 3), np.uint8)
    image[..., 2] = 255  # red, as BGR
    pixels = Preparation(28, 14)(image)
    assert pixels.shape == (3, 28, 42) and pixels.dtype == np.float32
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert pixels.mean((1, 2)) == pytest.approx(expected, abs=1e-5)


def test_the_map_is_the_librarys_at_image_size(model, folder):
    from transformers import AutoModelForDepthEstimation

    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    inputs = torch.from_numpy(model.preparation(image))[None]
    assert inputs.shape == (1, 3, 56, 98)
    found = model.predict(inputs, (60, 100))
    library = AutoModelForDepthEstimation.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = library(pixel_values=inputs).predicted_depth[:, None]
    expected = torch.nn.functional.interpolate(
        expected, (60, 100), mode="bilinear", align_corners=True
    )
    torch.testing.assert_close(found, expected[:, 0])
    assert found.std() > 0


def test_scaling_to_bytes():
    depth = np.array([[1.0, 2.0, 3.0]], np.float32)
    assert quantize(depth).tolist() == [[0, 127, 255]] and quantize(depth).dtype == np.uint8
    assert quantize(depth, 16).tolist() == [[0, 32767, 65535]]
    assert quantize(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def cityscapes(root):
    for i in range(5):
        name = f"leftImg8bit/train/ulm/ulm_{i:06d}_000019_leftImg8bit.png"
        # two sizes, so that a batch holds both
        write_image(root / name, 40 + 20 * (i == 2), 80, seed=i)
    return DataLocation.create("Cityscapes", data_root=str(root), images_only=True)


def test_a_tree_of_images(model, tmp_path):
    location = cityscapes(tmp_path)
    assert render_depth(location, model, batch_size=3, workers=0) == 5
    files = sorted((tmp_path / "depth_any/train/ulm").iterdir())
    assert [f.name for f in files] == [f"ulm_{i:06d}_000019_depth.png" for i in range(5)]
    for i, file in enumerate(files):
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert depth.shape == (60 if i == 2 else 40, 80) and depth.dtype == np.uint8
        assert depth.min() == 0 and depth.max() == 255
        image = tmp_path / f"leftImg8bit/train/ulm/ulm_{i:06d}_000019_leftImg8bit.png"
        pixels = model.preparation(cv2.imread(str(image)))
        alone = model.predict(torch.from_numpy(pixels)[None], depth.shape)[0].numpy()
        assert np.abs(quantize(alone).astype(int) - depth).max() <= 1


def test_only_missing_files_are_rendered(model, tmp_path):
    location = cityscapes(tmp_path)
    render_depth(location, model, workers=2)
    folder = tmp_path / "depth_any/train/ulm"
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    (folder / "ulm_000003_000019_depth.png").unlink()
    assert render_depth(location, model, workers=0) == 1
    changed = [f.name for f in folder.iterdir() if f.stat().st_mtime_ns != before[f.name]]
    assert changed == ["ulm_000003_000019_depth.png"]
    assert render_depth(location, model, workers=0) == 0
    assert render_depth(location, model, workers=0, bits=16, overwrite=True) == 5
    assert read_depth(str(folder / "ulm_000000_000019_depth.png")).dtype == np.uint16


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_images_are_left_out_and_named(model, tmp_path, workers):
    location = cityscapes(tmp_path)
    folder = tmp_path / "leftImg8bit/train/ulm"
    for i in (1, 4):
        (folder / f"ulm_{i:06d}_000019_leftImg8bit.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2 of 5 images have got no depth") as error:
        render_depth(location, model, workers=workers)
    for i in (1, 4):
        assert f"ulm_{i:06d}_000019_leftImg8bit.png cannot be decoded" in error.value.message
    written = sorted(p.name for p in (tmp_path / "depth_any/train/ulm").iterdir())
    assert written == [f"ulm_{i:06d}_000019_depth.png" for i in (0, 2, 3)]


def test_other_models_are_refused(clip_folder, tmp_path):
    with pytest.raises(UserError, match="model of type 'clip'"):
        _ = DepthAnything(str(clip_folder)).preparation
    metric = save(tmp_path / "metric", depth_estimation_type="metric", max_depth=80)
    with pytest.raises(UserError, match="estimates metric depth"):
        _ = DepthAnything(str(metric)).preparation


def test_names_of_the_published_weights():
    assert DepthAnything("large").checkpoint == "depth-anything/Depth-Anything-V2-Large-hf"


def run(*arguments):
    return run_script(ROOT / "tools/render_depth.py", *arguments)


def test_the_tool(folder, tmp_path):
    cityscapes(tmp_path / "cs")
    options = ("--checkpoint", folder, "--input-side", "56", "--workers", "0", "--device", "cpu")
    done = run("--dataset", "Cityscapes", "--root", tmp_path / "cs", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "5 depth files written" in done.stdout
    write_image(tmp_path / "own/frames/a/b.png")
    done = run("--images", tmp_path / "own/frames", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "own/depth_any/a/b.png").is_file()
    done = run("--images", tmp_path / "nothing", *options)
    assert done.returncode == 2 and "nothing" in done.stderr and "Traceback" not in done.stderr
