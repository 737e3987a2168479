import pytest
import torch

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import DETECTORS, OwlDetector

PROMPTS = ["truck", "box truck", "train"]


def reference(folder, images, backend):
    """Logits, boxes and network input of transformers' own processor and forward."""
    import transformers
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.owlv2.image_processing_owlv2 import Owlv2ImageProcessor
    from transformers.models.owlvit.image_processing_owlvit import OwlViTImageProcessor
    from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

    kind = AutoConfig.from_pretrained(folder).model_type
    prefix = {"owlvit": "OwlViT", "owlv2": "Owlv2"}[kind]
    model = getattr(transformers, f"{prefix}ForObjectDetection").from_pretrained(folder).eval()
    if kind == "owlv2":
        processor = Owlv2ImageProcessor
    else:
        processor = OwlViTImageProcessorPil if backend == "pil8" else OwlViTImageProcessor
    size = {"height": 64, "width": 64}
    pixels = processor(size=size, do_rescale=False)(list(images), return_tensors="pt").pixel_values
    tokens = AutoTokenizer.from_pretrained(folder)(
        PROMPTS * len(images), padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        output = model(**tokens, pixel_values=pixels)
    return pixels, output.logits, output.pred_boxes


@pytest.mark.parametrize("preprocess", ["pil8", "tensor"])
def test_agrees_with_the_librarys_processor_and_forward(owl_folder, images, preprocess):
    pixels, logits, boxes = reference(owl_folder, images, preprocess)
    detector = OwlDetector(str(owl_folder), preprocess=preprocess)
    torch.testing.assert_close(detector.pixel_values(images), pixels, atol=2e-5, rtol=0)
    ours, our_boxes = detector.detect(images, PROMPTS)
    assert ours.shape == (2, 16, 3)
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(our_boxes, boxes, atol=1e-5, rtol=1e-5)


def test_boxes_of_a_wide_image_are_relative_to_the_image(owl_folder):
    wide = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    detector = OwlDetector(str(owl_folder), preprocess="tensor")
    _, _, boxes = reference(owl_folder, wide, "tensor")
    _, ours = detector.detect(wide, PROMPTS)
    if detector.network.get().extras["kind"] == "owlv2":
        boxes = boxes * torch.tensor([1.0, 2.0, 1.0, 2.0])
    torch.testing.assert_close(ours, boxes, atol=1e-5, rtol=1e-5)


def test_queries_are_encoded_once(owl_folder, images):
    detector = OwlDetector(str(owl_folder))
    detector.detect(images, PROMPTS)
    model = detector.network.get().module
    backbone = getattr(model, "owlvit", None) or model.owlv2
    calls = []
    handle = backbone.text_model.register_forward_hook(lambda *_: calls.append(1))
    detector.detect(images, PROMPTS)
    assert calls == []
    detector.detect(images, PROMPTS[:1])
    assert calls == [1]
    handle.remove()


def test_half_precision_keeps_scores_and_boxes_close(owl_folder, images):
    logits, boxes = OwlDetector(str(owl_folder)).detect(images, PROMPTS)
    half, half_boxes = OwlDetector(str(owl_folder), dtype="bf16").detect(images, PROMPTS)
    assert half.dtype == half_boxes.dtype == torch.float32
    torch.testing.assert_close(half.sigmoid(), logits.sigmoid(), atol=0.03, rtol=0)
    assert (half_boxes - boxes).abs().mean() < 0.01


def test_a_trainings_autocast_does_not_reach_the_detector(owl_folder, images):
    logits, boxes = OwlDetector(str(owl_folder)).detect(images, PROMPTS)
    with torch.autocast("cpu", torch.bfloat16):
        again, again_boxes = OwlDetector(str(owl_folder)).detect(images, PROMPTS)
    assert torch.equal(logits, again) and torch.equal(boxes, again_boxes)


def test_aliases_name_the_published_checkpoints():
    assert OwlDetector("owlvit").checkpoint == "google/owlvit-base-patch32"
    assert OwlDetector("owlv2").checkpoint == "google/owlv2-base-patch16-ensemble"


def test_building_the_detector_loads_nothing():
    detector = DETECTORS.build({"type": "OwlDetector", "checkpoint": "owlvit"})
    assert not detector.network.built


def test_offline_error_names_the_checkpoint_and_the_fix(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    detector = OwlDetector("nobody/no-such-owl")
    with pytest.raises(UserError) as error:
        detector.detect(torch.rand(1, 3, 8, 8), ["truck"])
    assert "nobody/no-such-owl" in str(error.value)
    assert "pretrained/no-such-owl" in error.value.fix


def test_another_kind_of_model_is_refused(clip_folder):
    with pytest.raises(UserError, match="type 'clip'"):
        OwlDetector(str(clip_folder)).detect(torch.rand(1, 3, 8, 8), ["truck"])


@pytest.mark.parametrize("options", [{"preprocess": "jpeg"}, {"dtype": "int4"}])
def test_bad_options_fail_when_built(options):
    with pytest.raises(UserError, match=next(iter(options.values()))):
        OwlDetector(**options)
