"""Tiny, randomly initialised SAM networks of the real libraries."""

import numpy as np
import pytest
import torch

SIDE = 64


def save(model, folder):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # masks of a fresh network are all alike
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def decoder(kind, prefix, **extra):
    return getattr(kind, f"{prefix}MaskDecoderConfig")(
        hidden_size=16,
        mlp_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        iou_head_hidden_dim=16,
        **extra,
    )


@pytest.fixture(scope="session", params=["Sam", "SamHQ"])
def sam_folder(request, tmp_path_factory):
    import transformers

    prefix = request.param
    vision = getattr(transformers, f"{prefix}VisionConfig")(
        hidden_size=16,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=16,
        window_size=2,
        global_attn_indexes=[1],
        num_pos_feats=8,
    )
    prompt = getattr(transformers, f"{prefix}PromptEncoderConfig")(
        hidden_size=16, image_size=SIDE, patch_size=16, mask_input_channels=4
    )
    extra = {"vit_dim": 16} if prefix == "SamHQ" else {}
    config = getattr(transformers, f"{prefix}Config")(
        vision_config=vision,
        prompt_encoder_config=prompt,
        mask_decoder_config=decoder(transformers, prefix, **extra),
    )
    model = getattr(transformers, f"{prefix}Model")(config)
    return save(model, tmp_path_factory.mktemp(prefix))


@pytest.fixture
def picture():
    """(40, 56, 3) uint8 with a few coloured shapes."""
    image = np.full((40, 56, 3), 90, np.uint8)
    image[5:20, 8:30] = (200, 30, 30)
    image[25:36, 30:50] = (20, 160, 220)
    image[:10, 40:] = (240, 240, 60)
    noise = np.random.default_rng(0).integers(-20, 20, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
