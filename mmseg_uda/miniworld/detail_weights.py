"""The miniature CLIP of taxonomy alignment: it tells regions of the finer classes apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_uda.miniworld.detail_web import TEMPLATE, class_ids, texts_of
from mmseg_uda.miniworld.web import Caption, read_web
from mmseg_uda.miniworld.weights import (
    CLIP_CONFIG,
    CLIP_MEAN,
    CLIP_STD,
    Crops,
    make_optimizer,
    normalise,
    save_clip,
)
from mmseg_uda.progress import track

STEPS, BATCH = 900, 96


def train_detail_clip(
    captions: list[Caption], crops: np.ndarray, steps: int = STEPS, seed: int = 0
) -> nn.Module:
    """Trains the CLIP; returns the model in eval mode.

    Every crop is compared with one caption of each class. Any name of its class is true of a crop,
    as taxonomy alignment averages over the names of a class.
    """
    import open_clip

    data = Crops(captions, crops, seed + 2, favourites=())
    ids = class_ids()
    phrases = [[TEMPLATE.format(t) for t in texts_of(ids[name])] for name in data.names]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**CLIP_CONFIG).train()
    tokenizer = open_clip.SimpleTokenizer(context_length=CLIP_CONFIG["text_cfg"]["context_length"])
    tokens = [tokenizer(own) for own in phrases]
    optimizer, schedule = make_optimizer(model, 1.5e-3, steps)
    batches = data.batches(BATCH, steps)
    for images, index in track(batches, "Training the miniature CLIP of fine classes", steps):
        drawn = [int(torch.randint(len(t), (), generator=data.generator)) for t in tokens]
        shown = torch.stack([t[k] for t, k in zip(tokens, drawn, strict=True)])
        image = model.encode_image(normalise(images, CLIP_MEAN, CLIP_STD), normalize=True)
        text = model.encode_text(shown, normalize=True)
        loss = F.cross_entropy(model.logit_scale.exp() * image @ text.t(), data.target[index])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
    return model.eval()


def make_detail_clip(web: Path, target: Path, steps: int | None) -> None:
    """Trains the CLIP on the web-like domain with finer classes and writes its folder."""
    save_clip(train_detail_clip(*read_web(web), steps=steps or STEPS), target)
