import shutil

import pytest
import torch
from tiny_sam import LOOSE, sam_2, tiny_published_sam, with_network

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import MASK_PROPOSERS, SamProposer, SegmentAnythingProposer
from mmseg_uda.foundation.masks.automatic import prepare
from mmseg_uda.foundation.masks.geometry import input_size, point_grid, upsample


@pytest.fixture(scope="module")
def published():
    pytest.importorskip("segment_anything", reason="segment-anything is optional")
    return tiny_published_sam()


def test_input_is_that_of_the_librarys_processor(picture):
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    processor = SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
    )
    expected = processor(picture, return_tensors="pt").pixel_values
    ours = prepare(picture, input_size((40, 56), 64), 64)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_masks_are_those_of_the_librarys_forward_and_postprocessing(sam_folder, picture):
    import transformers

    config = transformers.AutoConfig.from_pretrained(sam_folder)
    prefix = {"sam": "Sam", "sam_hq": "SamHQ"}[config.model_type]
    model = getattr(transformers, f"{prefix}Model").from_pretrained(sam_folder).eval()
    pixels = prepare(picture, (46, 64), 64)
    points = torch.from_numpy(point_grid(3) * [64, 46]).float()
    with torch.no_grad():
        output = model(pixels, input_points=points[None, :, None], multimask_output=True)
    backend = SamProposer(str(sam_folder)).backend
    logits, score = backend.predict(backend.embed(pixels), points)
    torch.testing.assert_close(logits, output.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(score, output.iou_scores[0], atol=1e-4, rtol=1e-4)

    processor = transformers.SamImageProcessor(pad_size={"height": 64, "width": 64})
    (expected,) = processor.post_process_masks(
        output.pred_masks, [(40, 56)], [(46, 64)], binarize=False
    )
    ours = upsample(logits.flatten(0, 1), 64, (46, 64), (40, 56))
    torch.testing.assert_close(ours, expected.flatten(0, 1), atol=1e-4, rtol=1e-4)


def test_network_of_segment_anything_is_called_as_its_predictor_does(published, picture):
    from segment_anything import SamPredictor

    predictor = SamPredictor(published)
    predictor.set_image(picture)
    points = torch.from_numpy(point_grid(3) * [64, 46]).float()
    labels = torch.ones(9, 1, dtype=torch.int)
    _, score, logits = predictor.predict_torch(points[:, None], labels)
    backend = with_network(published).backend
    ours = backend.predict(backend.embed(prepare(picture, (46, 64), 64)), points)
    torch.testing.assert_close(ours[0], logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours[1], score, atol=1e-4, rtol=1e-4)


def test_half_precision_keeps_the_decoder_exact(sam_folder, picture):
    pixels = prepare(picture, (46, 64), 64)
    full = SamProposer(str(sam_folder)).backend
    half = SamProposer(str(sam_folder), dtype="bf16").backend
    points = torch.tensor([[30.0, 20.0]])
    logits, _ = half.predict(half.embed(pixels), points)
    assert logits.dtype == torch.float32
    exact, _ = full.predict(full.embed(pixels), points)
    assert (logits - exact).abs().mean() < 0.1 * exact.abs().mean()
    assert not torch.equal(logits, exact)


def test_sam_2_stretches_its_input(tmp_path, picture):
    import transformers

    if not hasattr(transformers, "Sam2Model"):
        pytest.skip("this transformers has no SAM 2")
    folder = sam_2(tmp_path)
    proposer = SamProposer(str(folder), **{**LOOSE, "stability_score_thresh": 0.0})
    assert not proposer.backend.keeps_proportions
    model = transformers.Sam2Model.from_pretrained(folder).eval()
    pixels = prepare(picture, (64, 64), 64)
    points = torch.tensor([[30.0, 20.0], [5.0, 60.0]])
    with torch.no_grad():
        output = model(pixels, input_points=points[None, :, None], multimask_output=True)
    logits, score = proposer.backend.predict(proposer.backend.embed(pixels), points)
    torch.testing.assert_close(logits, output.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(score, output.iou_scores[0], atol=1e-4, rtol=1e-4)
    processor = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64})
    (expected,) = processor.post_process_masks(
        output.pred_masks, [(40, 56)], binarize=False, apply_non_overlapping_constraints=False
    )
    ours = proposer._upsample(logits.flatten(0, 1), (64, 64), (40, 56))
    torch.testing.assert_close(ours, expected.flatten(0, 1), atol=1e-4, rtol=1e-4)
    assert proposer.propose(picture).size == (40, 56)


def test_networks_are_frozen_and_without_dropout(sam_folder, picture):
    backend = SamProposer(str(sam_folder)).backend
    embedding = backend.embed(prepare(picture, (46, 64), 64))
    module = backend.network.get().module
    assert not any(m.training for m in module.modules())
    assert not any(p.requires_grad for p in module.parameters())
    assert not embedding["image_embeddings"].requires_grad


def test_missing_weights_of_transformers_are_named(tmp_path, monkeypatch, picture):
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="facebook/sam-vit-huge") as error:
        MASK_PROPOSERS.build({"type": "SamProposer"}).propose(picture)
    assert "config.json and model.safetensors" in error.value.fix
    assert "pretrained/sam-vit-huge" in error.value.fix
    assert "hf download facebook/sam-vit-huge" in error.value.fix


def test_another_kind_of_model_is_refused(tmp_path, picture):
    from transformers import ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="type 'vit'"):
        SamProposer(str(tmp_path)).propose(picture)


def test_incomplete_weights_are_refused(sam_folder, tmp_path, picture):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(sam_folder, tmp_path / "part")
    state = load_file(folder / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 parameters, mask_decoder\.iou_token\.weight"):
        SamProposer(str(folder)).propose(picture)


def test_missing_published_weights_are_named(tmp_path, monkeypatch, picture):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"sam_vit_h_4b8939\.pth") as error:
        MASK_PROPOSERS.build({"type": "SegmentAnythingProposer"}).propose(picture)
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h" in error.value.fix
    assert "pretrained/" in error.value.fix


def test_a_missing_package_is_named(tmp_path, monkeypatch, picture):
    import sys

    monkeypatch.setitem(sys.modules, "segment_anything", None)
    (tmp_path / "sam.pth").write_bytes(b"")
    with pytest.raises(UserError, match="package segment-anything"):
        SegmentAnythingProposer(str(tmp_path / "sam.pth")).propose(picture)


def test_a_published_file_is_loaded_and_another_one_named(
    published, tmp_path, monkeypatch, picture
):
    import segment_anything

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", lambda: tiny_published_sam())
    other = tiny_published_sam()
    with torch.no_grad():
        other.mask_decoder.iou_token.weight.add_(1.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    torch.save(other.state_dict(), tmp_path / "pretrained" / "mine.pth")
    proposer = SegmentAnythingProposer("mine.pth", "vit_b", **LOOSE)
    assert proposer.propose(picture) == with_network(other, **LOOSE).propose(picture)

    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"broken\.pth"):
        SegmentAnythingProposer("broken.pth", "vit_b").propose(picture)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "strange.pth")
    with pytest.raises(UserError, match=r"strange\.pth"):
        SegmentAnythingProposer("strange.pth", "vit_b").propose(picture)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"points_per_sides": 3}, "points_per_sides"),
        ({"points_per_side": 1}, "points_per_side"),
        ({"box_nms_thresh": 2}, "box_nms_thresh"),
        ({"channel_order": "hsv"}, "hsv"),
        ({"dtype": "int8"}, "int8"),
        ({"type": "SegmentAnythingProposer", "model_type": "vit_x"}, "vit_x"),
    ],
)
def test_bad_options_fail_when_built(options, word):
    with pytest.raises(UserError, match=word):
        MASK_PROPOSERS.build({"type": "SamProposer", **options})


def test_keys_follow_weights_and_settings_and_load_nothing(sam_folder, tmp_path):
    first = SamProposer(str(sam_folder))
    copy = shutil.copytree(sam_folder, tmp_path / sam_folder.name)
    assert SamProposer(str(copy)).cache_key == first.cache_key
    keys = {
        SamProposer(str(copy), **options).cache_key
        for options in ({}, {"channel_order": "bgr"}, {"crop_n_layers": 0}, {"dtype": "bf16"})
    }
    assert len(keys) == 4 and not first.backend.network.built
