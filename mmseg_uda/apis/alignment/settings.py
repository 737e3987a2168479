"""From names and options to what an alignment is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.registry import Registry

from mmseg_uda.apis.segmentor import checked_device
from mmseg_uda.engine.config_file import load_config
from mmseg_uda.errors import UserError
from mmseg_uda.foundation import CROP_CLASSIFIERS, MASK_PROPOSERS
from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.masks import MaskProposer
from mmseg_uda.foundation.registry import build_adapter
from mmseg_uda.methods.dynalign import Engine, Options, preset
from mmseg_uda.methods.dynalign.options import DEFAULT_PRESET
from mmseg_uda.taxonomy import TaxonomyMap, load_taxonomy_map

SCORER = dict(type="OpenClip", checkpoint="convnext_large_d_320", input_size=224)
PROPOSER = dict(type="SamProposer")
# Short names of proposers and scorers, beside those of their classes.
ALIASES = {
    "grid": "GridProposer",
    "components": "ConnectedComponentProposer",
    "slic": "SLICProposer",
    "felzenszwalb": "FelzenszwalbProposer",
    "precomputed": "PrecomputedMaskProposer",
    "sam": "SamProposer",
    "open_clip": "OpenClip",
    "clip": "TransformersClip",
    "toy": "ToyScorer",
}


@dataclass(frozen=True)
class AlignmentSettings:
    """What an alignment is made of, by name.

    Attributes:
        taxonomy: Name or file of a taxonomy map.
        preset: ``recommended`` or ``released``.
        options: Changes of the preset's :class:`~mmseg_uda.methods.dynalign.Options`.
        proposer: ``type`` and options of a registered proposer of regions.
        scorer: ``type`` and options of a registered crop classifier.
        device: None takes the GPU if there is one.
    """

    taxonomy: str | Path | TaxonomyMap = "mapillary_v5"
    preset: str = DEFAULT_PRESET
    options: Mapping[str, Any] = field(default_factory=dict)
    proposer: Mapping[str, Any] = field(default_factory=lambda: dict(PROPOSER))
    scorer: Mapping[str, Any] = field(default_factory=lambda: dict(SCORER))
    device: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> AlignmentSettings:
        """The settings under ``alignment`` of a config file.

        Raises:
            UserError: The file is missing or damaged, or names something unknown.
        """
        content = load_config(path).get("alignment")
        if not isinstance(content, Mapping):
            raise UserError(
                f"{path} has no 'alignment'.", fix="For example: alignment = dict(...)."
            )
        return cls.create(content, str(path))

    @classmethod
    def create(cls, content: Mapping[str, Any], where: str) -> AlignmentSettings:
        """Settings from the ``alignment`` of a config.

        Args:
            content: By name.
            where: The file that they are from, for messages.

        Raises:
            UserError: A setting is unknown.
        """
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(content) - set(known))
        if unknown:
            raise UserError(
                f"{where}: alignment has no option {unknown[0]!r}.",
                fix=f"Give one of {', '.join(known)}.",
            )
        return cls(**{key: _plain(value) for key, value in content.items()})

    def build_options(self) -> Options:
        """The preset with its changes."""
        taxonomy = load_taxonomy_map(self.taxonomy)
        return preset(self.preset, self.options, taxonomy.name)

    def build_proposer(self) -> MaskProposer:
        """The proposer; networks run on the device of the settings."""
        order = self.build_options().channel_order
        proposer = _build(MASK_PROPOSERS, "proposer", self.proposer, channel_order=order)
        proposer.device = self._device()
        return proposer

    def build_scorer(self) -> CropClassifier:
        """The scorer; crops are stretched to its input, as published."""
        defaults: dict[str, Any] = dict(crop_mode="stretch", preprocess="tensor")
        return _build(CROP_CLASSIFIERS, "scorer", self.scorer, **defaults)

    def build_engine(self, text_cache: Path | None = None) -> Engine:
        """The engine with scorer, taxonomy and options."""
        return Engine(
            load_taxonomy_map(self.taxonomy),
            self.build_scorer(),
            self.build_options(),
            self._device(),
            text_cache,
        )

    def _device(self) -> str:
        return str(checked_device(self.device))


def _build(registry: Registry, role: str, config: Mapping[str, Any], **defaults: Any) -> Any:
    content = dict(config)
    content["type"] = ALIASES.get(content.get("type", ""), content.get("type"))
    return build_adapter(registry, role, content, **defaults)


def _plain(value: Any) -> Any:
    """Config values as plain ones."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return value
