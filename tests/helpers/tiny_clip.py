"""Tiny, randomly initialised CLIP models of the real libraries, as local folders."""

import json
import string

import torch


def save_tokenizer(folder, length):
    from transformers import CLIPTokenizer

    letters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=length).save_pretrained(folder)
    return len(vocab)


def tower(**extra):
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        **extra,
    }


def write_clip(folder):
    """A CLIP of the transformers library, in an existing folder."""
    from transformers import CLIPConfig, CLIPModel

    vocab = save_tokenizer(folder, 16)
    text = tower(
        vocab_size=vocab,
        max_position_embeddings=16,
        bos_token_id=vocab - 2,
        eos_token_id=vocab - 1,
        pad_token_id=vocab - 1,
    )
    config = CLIPConfig(
        text_config=text, vision_config=tower(image_size=32, patch_size=8), projection_dim=24
    )
    torch.manual_seed(1)
    CLIPModel(config).save_pretrained(folder)
    return folder


def write_open_clip(folder):
    """A CLIP in the local format of open_clip, in an existing folder."""
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    torch.manual_seed(2)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    settings = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": settings})
    )
    return folder


def write_owl(folder, kind="owlvit"):
    """A detector of the transformers library, ``owlvit`` or ``owlv2``, in an existing folder."""
    import transformers

    vocab = save_tokenizer(folder, 16)
    text = tower(vocab_size=vocab, max_position_embeddings=16, eos_token_id=vocab - 1)
    vision = tower(image_size=64, patch_size=16)
    prefix = "OwlViT" if kind == "owlvit" else "Owlv2"
    config = getattr(transformers, f"{prefix}Config")(
        text_config=text, vision_config=vision, projection_dim=32
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{prefix}ForObjectDetection")(config)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder
