"""What jobs need that comes from elsewhere: weights and data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmseg_uda.calling import as_called
from mmseg_uda.errors import size_text
from mmseg_uda.experiments.disk import encoder_bytes
from mmseg_uda.experiments.preflight import backbone_weights, datasets_of
from mmseg_uda.inspection import check_shape
from mmseg_uda.taxonomy import DEPTH_LOADER, LAYOUTS, DataLocation, missing_paths, parts_of

#: Millions of parameters by name of the weights, counted from the networks.
PARAMETERS = {
    "owlvit": 153.2,
    "openai/clip-vit-base-patch32": 151.3,
    "convnext_large_d_320": 351.8,
    "vit_h": 641.1,
    "vit_small_patch14_dinov2.lvd142m": 22.1,
    "vit_base_patch14_dinov2.lvd142m": 86.6,
    "vit_large_patch14_dinov2.lvd142m": 304.4,
}
#: What an adapter takes whose config names nothing.
DEFAULTS = {"SamProposer": "vit_h", "OpenClip": "convnext_large_d_320", "OwlDetector": "owlvit"}
ROLES = ("detector", "classifier", "proposer", "scorer")


def download_lines(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines about all weights and data sets of some jobs, each told once.

    Args:
        configs: Resolved configs; those whose parts are not what they should be are left out.
    """
    configs = [config for config in configs if not check_shape(config)]
    sizes = dict(pair for config in configs for pair in weights(config))
    places: dict[str, str] = {}
    for config in configs:
        for dataset in datasets_of(config):
            places |= {title: where for title, where in data_sets(dataset) if title not in places}
    lines = []
    if sizes:
        texts = [
            f"{name} ({size_text(size) if size else 'size unknown'})"
            for name, size in sizes.items()
        ]
        lines.append(f"Weights: {', '.join(texts)}; pretrained/README.md says from where")
    lines += [f"Data: {title}: {where}" for title, where in places.items()]
    return [as_called(line) for line in lines]


def weights(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and bytes (0 where they are not known) of the published weights that a config reads.

    Args:
        config: Resolved config; what a job before it leaves behind is not told.
    """
    for name in backbone_weights(config):
        yield name, encoder_bytes(config["model"]["backbone"]) or 4e6 * PARAMETERS.get(name, 0.0)
    for part in ((config.get("uda") or {}).get("relabel") or {}, config.get("alignment") or {}):
        for adapter in (part[role] for role in ROLES if part.get(role)):
            frozen = adapter.get("checkpoint") or DEFAULTS.get(str(adapter.get("type")))
            if frozen:
                yield frozen, 4e6 * PARAMETERS.get(frozen, 0.0)


def data_sets(dataset: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Title of each published data set in a config, and where it is or how to get it."""
    for part in parts_of(dataset):
        yield from data_sets(part)
    if dataset.get("type") not in LAYOUTS:
        return
    location = DataLocation.create(**dataset)
    fixes = {path.dataset: path.fix for path in reversed(missing_paths(dataset))}
    yield location.title, fixes.pop(location.title, f"is in {location.root}")
    steps = [step.get("type") for step in dataset.get("pipeline") or ()]
    if DEPTH_LOADER in steps and next(location.iter_images(), None) is None:
        fixes[f"{location.title} depth"] = location.depth_fix()  # not looked for without images
    yield from fixes.items()
