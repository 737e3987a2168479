"""Registry of the self-training host's components, and how a config becomes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.registry import Registry

from mmseg_uda.engine.config_changes import REGISTRIES
from mmseg_uda.engine.options import check_options, nearest
from mmseg_uda.errors import UserError
from mmseg_uda.self_training.components import Components

COMPONENTS = Registry("self-training component", scope="mmseg", locations=["mmseg_uda.methods"])
REGISTRIES.append(COMPONENTS)


def build_components(configs: Mapping[str, Any], options: Iterable[str] = ()) -> Components:
    """Components by role, in the order in which they run.

    Args:
        configs: Role -> config of a registered ``type``; None switches a role off.
        options: The host's own options, for which a role may have been mistaken.

    Raises:
        UserError: A config is no component's, or has an unknown option.
    """
    built: dict[str, Any] = {}
    for role, config in configs.items():
        if config is None:
            continue
        if not isinstance(config, Mapping) or "type" not in config:
            raise UserError(
                f"uda.{role} is neither an option of this trainer nor a component.",
                fix=f"{nearest(role, options, 'uda')}Its options are in docs/configs.md or its "
                "card; a component is a dict with a 'type'.",
            )
        if COMPONENTS.get(config["type"]) is None:
            raise UserError(
                f"uda.{role}.type={config['type']!r} is not registered.",
                fix=f"Known components: {', '.join(sorted(COMPONENTS.module_dict))}. Name the "
                "module that registers yours in custom_imports.",
            )
        check_options(COMPONENTS.get(config["type"]), config, f"uda.{role}")
        built[role] = COMPONENTS.build(dict(config))
    return Components(built)
