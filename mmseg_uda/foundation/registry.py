"""Registries of the adapters for frozen foundation models.

Their scope is mmsegmentation's, because configs set ``default_scope = 'mmseg'``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry

from mmseg_uda.errors import UserError

DETECTORS = Registry("detector", scope="mmseg", locations=["mmseg_uda.foundation"])
CROP_CLASSIFIERS = Registry("crop_classifier", scope="mmseg", locations=["mmseg_uda.foundation"])
MASK_PROPOSERS = Registry("mask_proposer", scope="mmseg", locations=["mmseg_uda.foundation"])


def build_adapter(registry: Registry, role: str, config: Mapping[str, Any], **defaults: Any) -> Any:
    """Builds a registered adapter.

    Args:
        registry: Where its type is looked up.
        role: Where ``config`` stands, for messages, such as ``uda.relabel.detector``.
        config: ``type`` and options.
        defaults: Options that apply where the adapter has them and ``config`` does not set them.

    Raises:
        UserError: Unknown type or option.
    """
    kind = config.get("type")
    kind = registry.get(kind) if isinstance(kind, str) else kind
    if kind is None:
        raise UserError(
            f"{role}.type={config.get('type')!r} is not registered.",
            fix=f"Give one of {', '.join(sorted(registry.module_dict))}.",
        )
    accepted = inspect.signature(kind).parameters
    unknown = sorted(set(config) - {"type"} - set(accepted))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        raise UserError(
            f"{role}: {config['type']} has no option {unknown[0]!r}.",
            fix=f"Give one of {', '.join(accepted)}.",
        )
    usable = {k: v for k, v in defaults.items() if k in accepted and v is not None}
    return registry.build({**usable, **config})
