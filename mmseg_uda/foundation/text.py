"""Text features of classes that have several names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.archives import read_arrays
from mmseg_uda.files import replacing
from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.lazy import full_precision

TEMPLATES = ("a photo of {}",)


def class_text_features(
    classifier: CropClassifier,
    names: Sequence[Sequence[str]],
    templates: Sequence[str] = TEMPLATES,
    normalize_before_mean: bool = False,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
) -> Tensor:
    """One unit vector per class: the mean over its names in all templates (DynAlign).

    Args:
        classifier: Whose text tower encodes them.
        names: Names of each of the N classes, at least one per class.
        templates: Sentences with ``{}`` in place of the name.
        normalize_before_mean: See :func:`mean_features`.
        device: Where to compute.
        cache: See :func:`encode_prompts`.

    Returns:
        (N, D) float32 on ``device``.
    """
    sentences = [[t.replace("{}", name) for name in own for t in templates] for own in names]
    flat = [sentence for own in sentences for sentence in own]
    owner = torch.tensor([k for k, own in enumerate(sentences) for _ in own], dtype=torch.long)
    raw = encode_prompts(classifier, flat, device, cache)
    return mean_features(raw, owner.to(raw.device), len(names), normalize_before_mean)


def mean_features(
    features: Tensor, owner: Tensor, count: int, normalize_before_mean: bool = False
) -> Tensor:
    """Unit means of groups of features.

    Args:
        features: (P, D) float.
        owner: (P,) int64, group of each; every group has one at least.
        count: Number of groups.
        normalize_before_mean: Whether features get unit length before the mean. In the published
            code they keep theirs, so that longer ones weigh more.

    Returns:
        (count, D) float32 of unit length.
    """
    features = features.float()
    if normalize_before_mean:
        features = F.normalize(features, dim=-1)
    # The sum has the direction of the mean.
    summed = features.new_zeros(count, features.shape[1]).index_add(0, owner, features)
    return F.normalize(summed, dim=-1)


@torch.no_grad()
def encode_prompts(
    classifier: CropClassifier,
    prompts: Sequence[str],
    device: torch.device | str = "cpu",
    cache: Path | None = None,
) -> Tensor:
    """Raw text features, each different phrase encoded once.

    Args:
        classifier: Whose text tower encodes them, ``classifier.chunk`` phrases at a time.
        prompts: P phrases, repetitions allowed.
        device: Where to compute.
        cache: Folder of files named by the classifier and the phrases; a file that is missing or
            damaged is made anew. None keeps nothing.

    Returns:
        (P, D) float32 on ``device``.
    """
    device = torch.device(device)
    unique = list(dict.fromkeys(prompts))
    place = {prompt: i for i, prompt in enumerate(unique)}
    index = torch.tensor([place[prompt] for prompt in prompts], dtype=torch.long, device=device)
    path = None if cache is None else Path(cache) / f"text-{_digest(classifier, unique)}.npz"
    features = _read(path, len(unique))
    if features is None:
        size = classifier.chunk
        parts = [unique[k : k + size] for k in range(0, len(unique), size)]
        with full_precision(device):
            encoded = [classifier.encode_text(part, device).float() for part in parts]
        features = torch.cat(encoded) if encoded else torch.zeros(0, classifier.embed_dim)
        if path is not None:
            with replacing(path) as temporary:  # an archive: it has a check sum
                np.savez(temporary, features=features.cpu().numpy())
    return features.to(device)[index]


def _digest(classifier: CropClassifier, prompts: Sequence[str]) -> str:
    content = json.dumps([classifier.cache_key, list(prompts)])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _read(path: Path | None, count: int) -> Tensor | None:
    if path is None:
        return None
    try:
        features = read_arrays(path)["features"]
    except Exception:  # the archive's reader raises many kinds
        return None
    whole = features.ndim == 2 and len(features) == count and features.dtype == np.float32
    return torch.from_numpy(features) if whole else None
