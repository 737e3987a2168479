"""What the selected jobs need and the machine does not have, told before anything starts."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from mmseg_uda.config_bases import import_modules
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.banks import missing_bank
from mmseg_uda.findings import Finding, warnings_of
from mmseg_uda.hub import pretrained_roots, settle_for_cache_when_offline
from mmseg_uda.inspection import check_shape, inspect_start
from mmseg_uda.taxonomy import MissingPath, missing_paths

LOADERS = ("train_dataloader", "val_dataloader")
# CSI's frozen models: role and registry.
RELABEL_ROLES = {"detector": "DETECTORS", "classifier": "CROP_CLASSIFIERS"}


def require(configs: Iterable[Mapping[str, Any]], hint: str, weights: bool = True) -> None:
    """Checks that everything the configs need is there; fetches weights where it can.

    Args:
        configs: Resolved configs.
        hint: What to do about missing files in general.
        weights: Whether to look for weights, too, which loads torch into this process.

    Raises:
        UserError: Lists per data set which paths are missing and how to get and convert them; or a
            part of a config is of another type than its readers expect.
    """
    configs = list(configs)
    warnings_of([finding for config in configs for finding in check_shape(config)])
    missing = missing_data(configs)
    if weights and not missing:
        # Hours of training should not end at the step that first needs a foundation model, and
        # parallel jobs should not fetch the same file at once: everything is loaded here first.
        missing = missing_weights(configs)
    _refuse(missing, hint)


def require_weights(config: Mapping[str, Any]) -> None:
    """Checks the weights that a training begins with, and its frozen models; see :func:`require`.

    Raises:
        UserError: Lists what is missing, and how to get it.
    """
    _refuse(missing_weights([config]), "Get them as listed, or correct their names in the config.")


def _refuse(missing: Sequence[MissingPath], hint: str) -> None:
    if missing:
        first = f"Files that are needed are not there, the first is {missing[0].path}."
        raise UserError(f"{first}\n{explain(missing)}", fix=hint)


def inspect(configs: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Looks at configs, file headers and the first files for values that cannot be right.

    What is missing is the matter of :func:`require`.

    Args:
        configs: Resolved configs.

    Returns:
        Warnings, to be told before the first step.

    Raises:
        UserError: Something would spoil the training; names all of it.
    """
    return warnings_of(inspect_start(configs))


def check_keys(configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks the keys of ``uda`` and ``alignment``, which loads torch into this process.

    A training tells the same at its start; a table with a misspelt option should not start at all.
    Networks are not built.

    Args:
        configs: Resolved configs, by the name of their row.

    Raises:
        UserError: A key is unknown; names the row and the nearest known key.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row, config in configs.items():
            try:
                check_config_keys(config)
            except UserError as error:
                raise UserError(
                    f"Row {row}: {error.message}",
                    fix=f"{error.fix or ''} Options apply to every row; --rows chooses "
                    "some.".strip(),
                ) from error


def check_config_keys(config: Mapping[str, Any]) -> None:
    """Checks ``uda`` and ``alignment`` of one config; see :func:`check_keys`.

    Raises:
        UserError: A key is unknown, with the nearest known key; or a value is of no use.
    """
    from inspect import signature

    from mmengine.config import Config
    from mmseg.registry import MODELS

    import mmseg_uda.register_all  # noqa: F401
    from mmseg_uda.apis.alignment.settings import AlignmentSettings
    from mmseg_uda.engine.runner import wrap_model
    from mmseg_uda.self_training.registry import build_components

    import_modules(config, "config")
    if config.get("alignment"):
        AlignmentSettings.create(config["alignment"], "config").build_options()
    elif config.get("uda"):
        trainer = wrap_model(Config(dict(config))).model
        cls = MODELS.get(trainer["type"])
        own = signature(cls).parameters
        options = getattr(cls, "Options", None)
        if options is not None:
            options(**{key: trainer[key] for key in options.names() if key in trainer})
        build_components({k: v for k, v in trainer.items() if k not in {"type", *own}}, own)


def explain(missing: Iterable[MissingPath]) -> str:
    """Returns a message with one block per data set or kind of weights."""
    blocks: dict[str, list[MissingPath]] = {}
    for path in missing:
        blocks.setdefault(path.dataset, []).append(path)
    lines = []
    for title, paths in blocks.items():
        lines.append(f"{title}:")
        lines += [f"  missing: {path.path}" for path in paths]
        fixes = list(dict.fromkeys(path.fix for path in paths))
        # "download" is said by "download; then convert" already
        fixes = [f for f in fixes if not any(o != f and o.startswith(f) for o in fixes)]
        lines += [f"  how:     {fix}" for fix in fixes]
    return "\n".join(lines)


def missing_data(configs: Iterable[Mapping[str, Any]]) -> list[MissingPath]:
    """Returns the missing paths of all data sets in the configs, each once."""
    found: dict[str, MissingPath] = {}
    for config in configs:
        for dataset in datasets_of(config):
            for path in missing_paths(dataset):
                found.setdefault(path.path, path)
        if missing_bank(config) is not None:  # drawing it reads the source's depth
            source = config["train_dataloader"]["dataset"].get("source")
            for path in missing_paths(source, depth=True):
                found.setdefault(path.path, path)
    return list(found.values())


def datasets_of(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The data sets of a job; an alignment needs labels of what it evaluates alone."""
    sets = [(config.get(loader) or {}).get("dataset") for loader in LOADERS]
    data = config.get("data") or {} if "alignment" in config else {}
    aligned = [{**data[part], "images_only": part != "evaluate"} for part in data if data[part]]
    return [dataset for dataset in (*sets, *aligned) if dataset]


def missing_weights(configs: Iterable[Mapping[str, Any]]) -> list[MissingPath]:
    """Returns the weights that the configs need and that can neither be found nor fetched."""
    configs = list(configs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return missing_backbones(configs) + missing_foundation(configs)


def missing_backbones(configs: Iterable[Mapping[str, Any]]) -> list[MissingPath]:
    """Returns the backbone weights that are neither found by name nor can be fetched."""
    names = list(dict.fromkeys(name for config in configs for name in backbone_weights(config)))
    if not names:
        return []
    from mmseg_uda.models.weights.pretrained import expected_file, fetch_weights, find_weights

    missing = []
    for name in names:
        if find_weights(name):
            continue
        settle_for_cache_when_offline()
        try:
            fetch_weights(name)
        except UserError as error:
            fix = suggest(name) + (error.fix or "Correct backbone.init_cfg.checkpoint.")
            missing.append(MissingPath("Backbone weights", str(expected_file(name)), fix))
    return missing


def missing_foundation(configs: Iterable[Mapping[str, Any]]) -> list[MissingPath]:
    """Returns the frozen models of CSI and DynAlign that cannot be built or loaded."""
    missing: dict[str, MissingPath] = {}
    seen = set()
    for config in configs:
        for key, adapter, load in _adapters(config):
            if repr(adapter) in seen:
                continue
            seen.add(repr(adapter))
            try:
                load()
            except UserError as error:
                name = _checkpoint(adapter)
                fix = suggest(name) + (error.fix or f"Correct {key}.")
                missing.setdefault(name, MissingPath("Foundation models", name, fix))
    return list(missing.values())


def _adapters(
    config: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], Callable[[], None]]]:
    """Of each frozen model: its key in the config, its settings, and what loads it."""
    uda = config.get("uda") or {}
    relabel = uda.get("relabel") or {} if isinstance(uda, Mapping) else {}
    if any(relabel.get(role) for role in RELABEL_ROLES):
        from mmseg_uda import foundation

        for role, name in RELABEL_ROLES.items():
            key, registry = f"uda.relabel.{role}", getattr(foundation.registry, name)
            if relabel.get(role):
                adapter = relabel[role]
                yield key, adapter, partial(_build_and_load, registry, key, adapter)
    if config.get("alignment"):
        from mmseg_uda.apis.alignment.settings import AlignmentSettings

        settings = AlignmentSettings.create(config["alignment"], "config")
        yield "alignment.proposer", settings.proposer, lambda: settings.build_proposer().load()
        yield "alignment.scorer", settings.scorer, lambda: settings.build_scorer().load()


def _build_and_load(registry: Any, key: str, adapter: Mapping[str, Any]) -> None:
    from mmseg_uda.foundation.registry import build_adapter

    try:
        built = build_adapter(registry, key, adapter)
    except UserError:
        return  # its options are wrong, which those tell who check the keys
    built.load()


def suggest(name: str) -> str:
    """How to make the miniworld's weights, or the known name that the user may have meant."""
    if "miniworld/" in name:
        command = "python tools/make_miniworld.py --out data/miniworld"
        more = "for experiments 50 and 500 to 504 --with generalization, 600 to 605 --with "
        more += "taxonomy, 700 to 713 --with transformers"
        return f"run: {command} ({more}). Else "
    from mmseg_uda.models.weights.pretrained import DOWNLOADS, HUB_REPOSITORIES

    known = {*DOWNLOADS, *HUB_REPOSITORIES}
    if name in known:  # it is no misspelt one
        return ""
    for root in pretrained_roots():
        known |= {str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.pth")}
    near = difflib.get_close_matches(name, sorted(known - {name}), n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}? Else " if near else ""


def backbone_weights(config: Mapping[str, Any]) -> Iterator[str]:
    """The name of the weights that a config's encoder begins with, if any."""
    backbone = (config.get("model") or {}).get("backbone")
    weights = backbone.get("init_cfg") if isinstance(backbone, Mapping) else None
    if isinstance(weights, Mapping) and weights.get("type") == "BackboneWeights":
        yield weights["checkpoint"]


def _checkpoint(adapter: Mapping[str, Any]) -> str:
    inner = adapter.get("classifier")
    return str(adapter.get("checkpoint") or (inner and _checkpoint(inner)) or adapter.get("type"))
