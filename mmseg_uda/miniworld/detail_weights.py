"""The miniature CLIP of taxonomy alignment: it tells regions of the finer classes apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_uda.miniworld.augment import augment_lightly
from mmseg_uda.miniworld.detail_web import TEMPLATE, class_ids, texts_of
from mmseg_uda.miniworld.web import Caption, read_web
from mmseg_uda.miniworld.weights import (
    CLIP_CONFIG,
    CLIP_MEAN,
    CLIP_STD,
    Crops,
    forget_unseen,
    make_optimizer,
    normalise,
    save_clip,
)
from mmseg_uda.progress import track

STEPS, BATCH, TEXT_BATCH = 1200, 64, 32
IMAGE_SIZE = 48
CONFIG: dict[str, Any] = {
    "embed_dim": CLIP_CONFIG["embed_dim"],
    # timm's smallest residual network with average pooling: CLIP's own learns slower from so
    # many more classes.
    "vision_cfg": {
        "timm_model_name": "test_resnet",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": IMAGE_SIZE,
    },
    # The longest phrase has 10 tokens with its ends.
    "text_cfg": {**CLIP_CONFIG["text_cfg"], "context_length": 16},
}


def train_detail_clip(
    captions: list[Caption], crops: np.ndarray, steps: int = STEPS, seed: int = 0
) -> nn.Module:
    """Trains the CLIP; returns the model in eval mode.

    Both towers learn to point at one anchor per class, the same for both. Pairs of crops and
    captions alone do not separate some 450 names, which share most of their words, in so few
    steps. The anchors are thrown away.
    """
    import open_clip

    data = Crops(captions, crops, seed + 2, favourites=(), vary=augment_lightly)
    ids = class_ids()
    phrases = [[TEMPLATE.format(t) for t in texts_of(ids[name])] for name in data.names]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**CONFIG).train()
        anchors = nn.Parameter(torch.randn(len(phrases), CONFIG["embed_dim"]))
    tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
    tokens = tokenizer([phrase for own in phrases for phrase in own])
    owner = torch.tensor([k for k, own in enumerate(phrases) for _ in own])
    modules = nn.ModuleDict({"model": model, "anchors": nn.ParameterList([anchors])})
    optimizer, schedule = make_optimizer(modules, 2e-3, steps)
    batches = data.batches(BATCH, steps)
    for images, index in track(batches, "Training the miniature CLIP of fine classes", steps):
        shown = torch.randint(len(tokens), (TEXT_BATCH,), generator=data.generator)
        images = F.interpolate(images, (IMAGE_SIZE, IMAGE_SIZE), mode="area")
        image = model.encode_image(normalise(images, CLIP_MEAN, CLIP_STD), normalize=True)
        text = model.encode_text(tokens[shown], normalize=True)
        targets = model.logit_scale.exp() * F.normalize(anchors, dim=1).t()
        loss = F.cross_entropy(image @ targets, data.target[index])
        loss = loss + F.cross_entropy(text @ targets, owner[shown])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
    forget_unseen(model, tokens)
    return model.eval()


def make_detail_clip(web: Path, target: Path, steps: int | None) -> None:
    """Trains the CLIP on the web-like domain with finer classes and writes its folder."""
    save_clip(train_detail_clip(*read_web(web), steps=steps or STEPS), target, CONFIG)
