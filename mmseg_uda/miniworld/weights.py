"""Miniature weights: an ImageNet-style backbone and a CLIP, trained on the web-like domain."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_uda.miniworld.augment import augment
from mmseg_uda.miniworld.web import CROP_SIZE, Caption
from mmseg_uda.progress import track

CLIP_STEPS = 480
BACKBONE_BATCH, CLIP_BATCH = 64, 96
# The published statistics of ImageNet, as the segmentation preprocessor uses them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN = CLIP_STD = (0.5, 0.5, 0.5)
CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    # A residual image tower: the convolutions' prior is worth more than width at this scale.
    "vision_cfg": {"image_size": CROP_SIZE, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}


# Vehicles look most alike and are the web's favourite subject.
VEHICLES = ("car", "truck", "bus", "train")


class Crops:
    """Class-balanced random batches of augmented crops.

    Args:
        captions: Of the crops.
        crops: (N, S, S, 3) uint8 RGB.
        seed: Of draws and augmentation.
        favourites: Classes that are drawn twice as often.
        vary: Augmentation of a batch of images in [0, 1].

    Attributes:
        names: Names of the classes.
        target: (N,) int64, the class of each crop.
        generator: Source of all draws.
    """

    def __init__(
        self,
        captions: list[Caption],
        crops: np.ndarray,
        seed: int,
        favourites: Sequence[str] = VEHICLES,
        vary: Callable[[Tensor, torch.Generator], Tensor] = augment,
    ) -> None:
        self.vary = vary
        self.captions = captions
        self.pixels = torch.from_numpy(crops).permute(0, 3, 1, 2)
        self.names = sorted({c.name for c in captions})
        self.target = torch.tensor([self.names.index(c.name) for c in captions])
        self.members = [torch.nonzero(self.target == k).flatten() for k in range(len(self.names))]
        self.shares = torch.tensor([2.0 if n in favourites else 1.0 for n in self.names])
        self.generator = torch.Generator().manual_seed(seed)

    def batches(self, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(images (size, 3, S, S) in [0, 1], indices (size,)) for every step."""
        for _ in range(steps):
            classes = torch.multinomial(self.shares, size, True, generator=self.generator)
            draws = torch.rand(size, generator=self.generator)
            index = torch.stack(
                [
                    self.members[c][int(d * len(self.members[c]))]
                    for c, d in zip(classes, draws, strict=True)
                ]
            )
            yield self.vary(self.pixels[index].float() / 255, self.generator), index


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(B, 3, H, W) in [0, 1], standardised per channel."""
    return (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def make_optimizer(module: nn.Module, rate: float, steps: int) -> tuple[Any, Any]:
    """AdamW with a short warm-up and a cosine to almost zero, and its schedule."""
    optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.02, betas=(0.9, 0.98))
    warm = max(steps // 20, 1)

    def factor(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-3)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def train_backbone(
    captions: list[Caption],
    crops: np.ndarray,
    build: Callable[[], tuple[nn.Module, Sequence[int]]],
    steps: int,
    seed: int = 0,
    title: str = "backbone",
) -> tuple[nn.Module, float]:
    """Classifies crops with an encoder and a linear head.

    Args:
        captions, crops: The web-like domain.
        build: Makes the encoder; also returns the channels of its maps, coarsest last.
        steps: Optimizer steps.
        seed: Of initial values and batches.
        title: What the progress bar calls it.

    Returns:
        The encoder, and the training accuracy of the last tenth of the steps.
    """
    data = Crops(captions, crops, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone, channels = build()
        # The two coarser stages see a head of their own, so that dense features get a signal too.
        head = nn.Linear(channels[-1], len(data.names))
        side = nn.Linear(channels[-2], len(data.names))
    modules = nn.ModuleList([backbone, head, side]).train()
    optimizer, schedule = make_optimizer(modules, 2e-3, steps)
    right: list[float] = []
    batches = data.batches(BACKBONE_BATCH, steps)
    for images, index in track(batches, f"Training the {title}", steps):
        features = backbone(normalise(images, _MEAN, _STD))
        logits, target = head(features[-1].mean((2, 3))), data.target[index]
        loss = F.cross_entropy(logits, target)
        loss = loss + 0.4 * F.cross_entropy(side(features[-2].mean((2, 3))), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        right.append(float((logits.argmax(1) == target).float().mean()))
    return backbone, float(np.mean(right[-max(steps // 10, 1) :]))


def shown_prompts(captions: list[Caption], index: Tensor) -> Tensor:
    """(B, B) bool: whether the caption of column j is true of the crop of row i.

    A crop shows the commonest prompt of its class and the one of its own caption; a caption that
    says "pickup truck" is not true of every truck.
    """
    rows = [captions[i] for i in index.tolist()]
    first = [_first_prompt(c.name) for c in rows]
    return torch.tensor(
        [[b.prompt in (a.prompt, f) for b in rows] for a, f in zip(rows, first, strict=True)]
    )


def _first_prompt(name: str) -> str:
    from mmseg_uda.miniworld.formats import TAXONOMY
    from mmseg_uda.taxonomy import load_taxonomy

    taxonomy = load_taxonomy(TAXONOMY)
    return taxonomy.prompts[taxonomy.class_id(name)][0]


def contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """CLIP's symmetric loss with several true captions per image (and images per caption).

    Args:
        logits: (B, B) float, images in rows.
        positive: (B, B) bool with at least one True per row and column.
    """
    share = positive.float()
    rows = -(F.log_softmax(logits, 1) * share / share.sum(1, keepdim=True)).sum(1)
    columns = -(F.log_softmax(logits, 0) * share / share.sum(0, keepdim=True)).sum(0)
    return (rows.mean() + columns.mean()) / 2


def train_clip(
    captions: list[Caption], crops: np.ndarray, steps: int = CLIP_STEPS, seed: int = 0
) -> nn.Module:
    """Trains the miniature CLIP; returns the model in eval mode."""
    import open_clip

    data = Crops(captions, crops, seed + 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**CLIP_CONFIG).train()
    tokenizer = open_clip.SimpleTokenizer(context_length=CLIP_CONFIG["text_cfg"]["context_length"])
    texts = sorted({c.text for c in captions})
    tokens = tokenizer(texts)
    token_row = torch.tensor([texts.index(c.text) for c in captions])
    optimizer, schedule = make_optimizer(model, 1.5e-3, steps)
    for images, index in track(
        data.batches(CLIP_BATCH, steps), "Training the miniature CLIP", steps
    ):
        # Equal captions need only one pass through the text tower.
        rows, inverse = token_row[index].unique(return_inverse=True)
        image = model.encode_image(normalise(images, CLIP_MEAN, CLIP_STD), normalize=True)
        text = model.encode_text(tokens[rows], normalize=True)[inverse]
        logits = model.logit_scale.exp() * image @ text.t()
        loss = contrastive_loss(logits, shown_prompts(captions, index))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
    forget_unseen(model, tokens)
    return model.eval()


def forget_unseen(model: nn.Module, tokens: Tensor) -> None:
    """Sets the embeddings of words that no caption has to 0: noise else, and most of the file.

    Args:
        model: open_clip's ``CLIP``.
        tokens: (N, length) int64, those of all captions.
    """
    seen = torch.zeros(len(model.token_embedding.weight), dtype=torch.bool)
    seen[tokens.unique()] = True
    with torch.no_grad():
        model.token_embedding.weight[~seen] = 0


def save_clip(
    model: nn.Module, folder: Path, model_config: Mapping[str, Any] = CLIP_CONFIG
) -> None:
    """Writes open_clip's local-directory format."""
    from safetensors.torch import save_file

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    save_file(state, str(partial / "open_clip_model.safetensors"))
    config = {
        "model_cfg": dict(model_config),
        "preprocess_cfg": {
            "mean": list(CLIP_MEAN),
            "std": list(CLIP_STD),
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }
    (partial / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
