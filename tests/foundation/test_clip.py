import json
import random
import shutil

import numpy as np
import pytest
import torch

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import CROP_CLASSIFIERS, OpenClip, TransformersClip
from mmseg_uda.foundation.lazy import Loaded

PROMPTS = ["road", "a train, or a tram", "car"]


def test_transformers_clip_agrees_with_the_librarys_processor_and_forward(clip_folder, images):
    from transformers import AutoTokenizer, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": 32, "width": 32}
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size, do_rescale=False)
    tokens = AutoTokenizer.from_pretrained(clip_folder)(PROMPTS, padding=True, return_tensors="pt")
    boxes = torch.tensor([[0, 0, 48, 30], [5, 7, 21, 40], [1, 1, 2, 2]])
    index = torch.tensor([0, 1, 1])
    crops = [images[i, :, y0:y1, x0:x1] for (x0, y0, x1, y1), i in zip(boxes, index, strict=True)]
    pixels = [processor(crop, return_tensors="pt").pixel_values for crop in crops]
    model = CLIPModel.from_pretrained(clip_folder).eval()
    with torch.no_grad():
        expected = model(**tokens, pixel_values=torch.cat(pixels)).logits_per_image
    ours = TransformersClip(str(clip_folder)).classify(images, PROMPTS, boxes, index)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_open_clip_agrees_with_the_library(open_clip_folder, images):
    import open_clip

    name = f"local-dir:{open_clip_folder}"
    model = open_clip.create_model(name).eval()
    pixels = torch.nn.functional.interpolate(images, (32, 32), mode="bicubic", antialias=True)
    with torch.no_grad():
        image = model.encode_image((pixels - 0.5) / 0.25, normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(name)(PROMPTS), normalize=True)
        expected = model.logit_scale.exp() * image @ text.t()
    ours = OpenClip(str(open_clip_folder), preprocess="tensor").classify(images, PROMPTS)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_crops_are_made_as_the_model_was_trained(clip_folder, open_clip_folder, tmp_path):
    folder = shutil.copytree(open_clip_folder, tmp_path / "copy")
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["preprocess_cfg"]["resize_mode"] = "squash"
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    assert OpenClip(str(folder)).crop_mode == "stretch"
    assert OpenClip(str(folder), crop_mode="square_pad").crop_mode == "square_pad"
    assert OpenClip(str(open_clip_folder)).crop_mode == "center"
    assert TransformersClip(str(clip_folder)).crop_mode == "center"


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_chunks_do_not_change_the_result(open_clip_folder, images, chunk):
    boxes = torch.tensor([[i, 2 * i, i + 12, 2 * i + 15] for i in range(7)])
    index = torch.arange(7) % 2
    whole = OpenClip(str(open_clip_folder), preprocess="tensor")
    parts = OpenClip(str(open_clip_folder), preprocess="tensor", chunk=chunk)
    torch.testing.assert_close(
        parts.classify(images, PROMPTS, boxes, index),
        whole.classify(images, PROMPTS, boxes, index),
        atol=1e-5,
        rtol=1e-5,
    )


def test_phrases_are_encoded_once_per_list(open_clip_folder, images, monkeypatch):
    classifier = OpenClip(str(open_clip_folder))
    calls = []
    encode = classifier.encode_text
    monkeypatch.setattr(
        classifier, "encode_text", lambda *args: calls.append(args[0]) or encode(*args)
    )
    for prompts in (PROMPTS, list(PROMPTS), PROMPTS[:2], PROMPTS):
        classifier.classify(images, prompts)
    assert [len(call) for call in calls] == [3, 2]


def test_weights_of_a_folder_are_shared(open_clip_folder, images):
    first, second = OpenClip(str(open_clip_folder)), OpenClip(str(open_clip_folder))
    first.classify(images, PROMPTS)
    second.classify(images, PROMPTS)
    assert first.network.get() is second.network.get()


def test_loading_draws_no_visible_random_number(open_clip_folder, images, tmp_path):
    # A copy, because the weights of the folder itself may be loaded already.
    folder = shutil.copytree(open_clip_folder, tmp_path / "copy")
    torch.manual_seed(5)
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    OpenClip(str(folder)).classify(images, PROMPTS)
    after = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_networks_are_frozen_and_results_carry_no_graph(clip_folder, images):
    classifier = TransformersClip(str(clip_folder))
    logits = classifier.classify(images.requires_grad_(), PROMPTS)
    module = classifier.network.get().module
    assert not logits.requires_grad
    assert not any(p.requires_grad for p in module.parameters())
    assert not any(m.training for m in module.modules())


def test_half_precision_returns_close_float32_logits(open_clip_folder, images):
    logits = OpenClip(str(open_clip_folder)).classify(images, PROMPTS)
    half = OpenClip(str(open_clip_folder), dtype="bf16").classify(images, PROMPTS)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, logits, atol=0.3, rtol=0)


def test_a_trainings_autocast_does_not_reach_the_classifier(open_clip_folder, images):
    logits = OpenClip(str(open_clip_folder)).classify(images, PROMPTS)
    with torch.autocast("cpu", torch.bfloat16):
        again = OpenClip(str(open_clip_folder)).classify(images, PROMPTS)
    assert torch.equal(logits, again)


def test_no_boxes_no_forward(open_clip_folder, images):
    empty = torch.zeros(0, 4).long(), torch.zeros(0).long()
    assert OpenClip(str(open_clip_folder)).classify(images, PROMPTS, *empty).shape == (0, 3)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(UserError, match="open_clip_config.json") as error:
        OpenClip(str(tmp_path)).classify(torch.rand(1, 3, 8, 8), PROMPTS)
    assert str(tmp_path) in str(error.value)


def test_a_missing_folder_is_named():
    with pytest.raises(UserError, match="pretrained/nowhere/clip"):
        OpenClip("pretrained/nowhere/clip").classify(torch.rand(1, 3, 8, 8), PROMPTS)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"crop_mode": "fit"}, "crop_mode"),
        ({"preprocess": "x"}, "preprocess"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_bad_options_fail_when_built(options, word):
    with pytest.raises(UserError, match=word):
        CROP_CLASSIFIERS.build({"type": "TransformersClip", **options})


@pytest.mark.parametrize("kind", ["open_clip", "transformers"])
def test_another_input_size_changes_the_crops_and_keeps_the_model(
    kind, clip_folder, open_clip_folder, images
):
    folder = {"open_clip": open_clip_folder, "transformers": clip_folder}[kind]
    adapter = {"open_clip": OpenClip, "transformers": TransformersClip}[kind]
    native = adapter(str(folder), preprocess="tensor")
    larger = adapter(str(folder), preprocess="tensor", input_size=48)
    assert (native.input_size, larger.input_size) == (32, 48)
    box, index = torch.tensor([[0, 0, 48, 48]]), torch.zeros(1).long()
    assert larger.crops(images, box, index).shape == (1, 3, 48, 48)
    features = larger.encode_image(larger.crops(images, box, index))
    assert features.shape == (1, larger.embed_dim)
    assert torch.equal(
        larger.encode_text(PROMPTS, torch.device("cpu")),
        native.encode_text(PROMPTS, torch.device("cpu")),
    )
    same = adapter(str(folder), preprocess="tensor", input_size=32)
    assert torch.equal(same.classify(images, PROMPTS), native.classify(images, PROMPTS))


def test_keys_follow_content_and_settings_and_load_nothing(open_clip_folder, tmp_path):
    copy = shutil.copytree(open_clip_folder, tmp_path / open_clip_folder.name)
    first, second = OpenClip(str(open_clip_folder)), OpenClip(str(copy))
    assert first.cache_key == second.cache_key
    others = {
        OpenClip(str(copy), input_size=48).cache_key,
        OpenClip(str(copy), dtype="bf16").cache_key,
    }
    with (copy / "open_clip_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    others.add(second.cache_key)
    assert len(others - {first.cache_key}) == 3
    assert not first.network.built and not second.network.built


def test_dynaligns_model_is_the_default_and_named_when_it_is_absent(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="convnext_large_d_320") as error:
        OpenClip(input_size=224).classify(torch.rand(1, 3, 8, 8), PROMPTS)
    assert "open_clip_config.json and open_clip_model.safetensors" in error.value.fix
    assert "pretrained/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup" in error.value.fix
    assert "hf download laion/CLIP-convnext_large_d_320" in error.value.fix


def test_a_file_of_weights_is_found_in_pretrained_or_named(open_clip_folder, tmp_path, monkeypatch):
    import open_clip.factory
    from safetensors.torch import load_file

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no file 'my_clip\.bin'.*convnext_large_d_320") as error:
        OpenClip("convnext_large_d_320", "my_clip.bin").load()
    assert "hf download laion/CLIP-convnext_large_d_320" in error.value.fix

    (tmp_path / "pretrained").mkdir()
    config = json.loads((open_clip_folder / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    state = load_file(open_clip_folder / "open_clip_model.safetensors")
    torch.save(state, tmp_path / "pretrained" / "my_clip.bin")
    found, expected = OpenClip("tiny", "my_clip.bin"), OpenClip(str(open_clip_folder))
    pixels = torch.rand(1, 3, 32, 32)
    assert torch.equal(found.encode_image(pixels), expected.encode_image(pixels))

    content = bytearray((tmp_path / "pretrained" / "my_clip.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "pretrained" / "damaged.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.bin is damaged: the check sum"):
        OpenClip("tiny", "damaged.bin").load()


def test_dropout_is_off_and_norm_statistics_stay_whatever_the_mode_of_the_network():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)
    ).train()
    loaded = Loaded(network)
    statistics = network[1].running_mean.clone()
    inputs = torch.rand(2, 3, 4, 4)
    assert torch.equal(loaded.on(inputs.device)(inputs), loaded.on(inputs.device)(inputs))
    assert torch.equal(network[1].running_mean, statistics)
    assert not any(m.training for m in network.modules())
    network[2].train()
    with torch.no_grad():
        assert torch.equal(loaded.on(inputs.device)(inputs), loaded.on(inputs.device)(inputs))


def test_a_convnext_tower_takes_224_pixels_and_never_drops_paths(tmp_path):
    # The image tower of DynAlign's model, smaller; its drop paths would make features random.
    folder = tmp_path / "convnext"
    folder.mkdir()
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "convnext_atto",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "mlp",
            "timm_drop": 0.0,
            "timm_drop_path": 0.5,
            "image_size": 64,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    model = open_clip_model(config)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"size": 64}})
    )
    save_weights(model, folder)
    classifier = OpenClip(str(folder), input_size=32)
    pixels = torch.rand(2, 3, 32, 32)
    first = classifier.encode_image(pixels)
    assert first.shape == (2, classifier.embed_dim)
    assert torch.equal(classifier.encode_image(pixels), first)
    assert not any(m.training for m in classifier.network.get().module.modules())


def open_clip_model(config):
    import open_clip

    torch.manual_seed(4)
    return open_clip.CLIP(**config)


def save_weights(model, folder):
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
