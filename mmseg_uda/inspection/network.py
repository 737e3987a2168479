"""Do network, trainer, metric and data sets of a config speak of the same classes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmseg_uda.findings import Finding, Level
from mmseg_uda.taxonomy import Taxonomy, load_taxonomy, load_taxonomy_map

from .data_sets import EVALUATION, OURS, TRAINING, entries_of

AREA = "config"
IGNORED = 255  # the heads' default
PUBLISHED_MEAN = [123.675, 116.28, 103.53]
METRICS = ("StreamingIoU", "MultiTargetIoU")
EVALUATORS = {"val_evaluator": "val_dataloader", "test_evaluator": "test_dataloader"}


def check_network(config: Mapping[str, Any]) -> list[Finding]:
    """Compares numbers of classes, class weights and ignored ids with the data sets' taxonomies.

    Raises:
        UserError: A taxonomy does not exist or is wrong.
    """
    findings = list(_normalisation(config))
    trained = dict(_taxonomies(config, TRAINING))
    evaluated = dict(_taxonomies(config, EVALUATION))
    if not trained and not evaluated:
        return findings
    key, taxonomy = next(iter((trained or evaluated).items()))
    expected = f"the taxonomy '{taxonomy.name}' of {key} has {len(taxonomy)}"
    findings += [
        _problem(f"{what}, but {expected} classes.", fix)
        for what, fix in _heads(config.get("model"), "model", taxonomy)
    ]
    findings += _ignored(config.get("model"), key, taxonomy)
    findings += _trainer(config.get("uda"), key, taxonomy) if trained else []
    for name, other in {**trained, **evaluated}.items():
        findings += _compared(f"{name}.taxonomy", other, key, taxonomy)
    for name, loader in EVALUATORS.items():
        sets = {k: t for k, t in evaluated.items() if k.startswith(loader)}
        for number, metric in enumerate(_listed(config.get(name))):
            if metric.get("type") in METRICS and sets:
                where = f"{name}[{number}]" if isinstance(config.get(name), list) else name
                mine = load_taxonomy(metric.get("taxonomy", "cityscapes19"))
                findings += _compared(f"{where}.taxonomy", mine, *next(iter(sets.items())))
    return findings


def config_taxonomy(config: Mapping[str, Any]) -> Taxonomy | None:
    """Returns the taxonomy of the training data, else of the evaluation's; None without data.

    Raises:
        UserError: It does not exist or is wrong.
    """
    found = (dict(_taxonomies(config, role)) for role in (TRAINING, EVALUATION))
    return next((taxonomy for named in found for taxonomy in named.values()), None)


def _normalisation(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Mean and standard deviation of images in 0..1, which are often copied from elsewhere."""
    model = config.get("model") or {}
    places = {"": config, "model.": model, "model.segmentor.": model.get("segmentor") or {}}
    for prefix, place in places.items():
        options = place.get("data_preprocessor")
        if not isinstance(options, Mapping):
            continue
        mean, std = (options.get(name) or [] for name in ("mean", "std"))
        if all(isinstance(v, (list, tuple)) and v and 0 < max(v) <= 1 for v in (mean, std)):
            text = (
                f"{prefix}data_preprocessor has mean={list(mean)}, std={list(std)} for images in "
                "0..1; they are in 0..255."
            )
            yield Finding(
                AREA, Level.WARNING, text, fix=f"Multiply both by 255: mean={PUBLISHED_MEAN}."
            )


def _taxonomies(config: Mapping[str, Any], role: str) -> Iterator[tuple[str, Taxonomy]]:
    for key, of, item in entries_of(config):
        if of != role or key.endswith(".images"):  # labelled by an alignment, in other classes
            continue
        if item.get("type") in OURS:
            yield key, load_taxonomy(item.get("taxonomy", "cityscapes19"))
        elif item.get("type") == "AlignedDataset":
            yield key, load_taxonomy_map(item.get("taxonomy_map", "mapillary_v5")).target


def _heads(item: Any, key: str, taxonomy: Taxonomy) -> Iterator[tuple[str, str]]:
    """Yields what has another number of classes, and the remedy."""
    if isinstance(item, (list, tuple)):
        for number, part in enumerate(item):
            yield from _heads(part, f"{key}[{number}]", taxonomy)
    if not isinstance(item, Mapping):
        return
    classes = len(taxonomy)
    if "head" in key:
        found, outputs = item.get("num_classes", classes), item.get("out_channels", classes)
        if found != classes:
            yield f"{key}.num_classes={found!r}", f"Set {key}.num_classes={classes}."
        elif outputs not in (None, classes):
            yield f"{key}.out_channels={outputs!r}", f"Set {key}.out_channels=None."
    weights = item.get("class_weight")
    # Mask2Former's classification has one more class, 'no object'.
    right = classes + 1 if key.endswith("loss_cls") else classes
    if isinstance(weights, (list, tuple)) and len(weights) != right:
        fix = f"Give {right} weights, in the order of the classes."
        yield f"{key}.class_weight has {len(weights)} entries", fix
    for name, part in item.items():
        if isinstance(part, (Mapping, list, tuple)) and name not in ("backbone", "neck"):
            yield from _heads(part, f"{key}.{name}", taxonomy)


def _ignored(model: Any, key: str, taxonomy: Taxonomy) -> Iterator[Finding]:
    if not isinstance(model, Mapping):
        return
    places = {"data_preprocessor": "seg_pad_val", "decode_head": "ignore_index"}
    for part, option in places.items():
        found = model.get(part)
        if not isinstance(found, Mapping):
            continue
        value = found.get(option, IGNORED)
        if value != taxonomy.ignore_index:
            yield _problem(
                f"model.{part}.{option} is {value!r}, but the taxonomy '{taxonomy.name}' of {key} "
                f"ignores {taxonomy.ignore_index}.",
                f"Set model.{part}.{option}={taxonomy.ignore_index}, or ignore_index: {IGNORED} in "
                "the taxonomy file.",
            )


def _trainer(uda: Any, key: str, taxonomy: Taxonomy) -> list[Finding]:
    if not isinstance(uda, Mapping):
        return []
    if uda.get("taxonomy") is not None:
        return _compared("uda.taxonomy", load_taxonomy(uda["taxonomy"]), key, taxonomy)
    return []


def _compared(name: str, mine: Taxonomy, key: str, theirs: Taxonomy) -> list[Finding]:
    if mine.classes == theirs.classes:
        return []
    if len(mine) != len(theirs):
        differ = (
            f"{name} '{mine.name}' has {len(mine)} classes, '{theirs.name}' of {key} {len(theirs)}."
        )
        return [_problem(differ, "Use one taxonomy for data sets, uda and evaluators.")]
    pairs = zip(mine.classes, theirs.classes, strict=True)
    number, names = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    text = (
        f"class {number} is '{names[0]}' in {name} '{mine.name}' and '{names[1]}' in "
        f"'{theirs.name}' of {key}."
    )
    return [
        Finding(AREA, Level.WARNING, text, fix="Use one taxonomy, unless only the names differ.")
    ]


def _listed(value: Any) -> list[Mapping[str, Any]]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return [item for item in items if isinstance(item, Mapping)]


def _problem(text: str, fix: str) -> Finding:
    return Finding(AREA, Level.PROBLEM, text, fix=fix)
