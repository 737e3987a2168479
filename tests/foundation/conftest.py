"""Tiny, randomly initialised models of the real libraries, saved as local checkpoint folders."""

import pytest
import torch
from tiny_clip import save_tokenizer, tower, write_clip, write_open_clip


@pytest.fixture(scope="session", params=["owlvit", "owlv2"])
def owl_folder(request, tmp_path_factory):
    import transformers

    folder = tmp_path_factory.mktemp(request.param)
    vocab = save_tokenizer(folder, 16)
    text = tower(vocab_size=vocab, max_position_embeddings=16, eos_token_id=vocab - 1)
    vision = tower(image_size=64, patch_size=16)
    prefix = "OwlViT" if request.param == "owlvit" else "Owlv2"
    config = getattr(transformers, f"{prefix}Config")(
        text_config=text, vision_config=vision, projection_dim=32
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{prefix}ForObjectDetection")(config)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def open_clip_folder(tmp_path_factory):
    return write_open_clip(tmp_path_factory.mktemp("open_clip"))


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, 3, 48, 48, generator=generator)
