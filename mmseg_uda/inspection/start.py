"""All checks of a config and of its data sets, for the start of a training and for the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level, problem, unique

from .content import check_depth, check_images, check_labels
from .data_sets import AREA, DataSet, collect
from .files import check_files
from .headers import check_headers
from .idle import check_idle
from .network import check_network
from .overlap import check_overlap
from .pipelines import check_pipelines
from .releases import check_names
from .shape import check_shape
from .statistics import check_rare_classes, check_used_statistics

CONFIG_CHECKS: tuple[Callable[[Mapping[str, Any]], list[Finding]], ...] = (
    check_idle,
    check_overlap,
    check_network,
    check_pipelines,
)
"""Of a resolved config: no file of a data set is read."""
DATA_CHECKS: tuple[Callable[[DataSet], list[Finding]], ...] = (
    check_files,
    check_names,
    check_headers,
    check_images,
    check_labels,
    check_depth,
    check_used_statistics,
    check_rare_classes,
)
"""Of a data set whose first files are there: headers, and the content of a few files."""


def inspect_start(configs: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Returns what speaks against training these configs, without what is missing.

    Args:
        configs: Resolved configs. Each data set that they share is looked at once.
    """
    configs = list(configs)
    findings = [finding for config in configs for finding in inspect_config(config)]
    configs = [config for config in configs if not check_shape(config)]
    for one in collect(configs, findings):
        if not one.location.missing(one.needs_depth):
            findings += inspect_data_set(one)
    return unique(findings)


def inspect_source(config: Mapping[str, Any]) -> list[Finding]:
    """Returns what speaks against drawing samples from the source of an adaptation alone."""
    data = (config.get("train_dataloader") or {}).get("dataset")
    findings: list[Finding] = []
    if isinstance(data, Mapping):
        pair = {"dataset": {**data, "target": None}}
        for one in collect([{"uda": config.get("uda"), "train_dataloader": pair}], findings):
            findings += inspect_data_set(one) if not one.location.missing() else []
    return unique(findings)


def inspect_test_files(config: Mapping[str, Any]) -> list[Finding]:
    """Returns what speaks against testing on the data sets of a config's ``test_dataloader``.

    Args:
        config: As it is tested.
    """
    loader = {"test_dataloader": config.get("test_dataloader")}
    findings: list[Finding] = []
    for one in collect([loader], findings):
        if not one.location.missing():
            findings += inspect_data_set(one)
    return unique(findings)


def inspect_config(config: Mapping[str, Any]) -> list[Finding]:
    """Runs ``CONFIG_CHECKS`` on a config whose parts are of the right types."""
    misshapen = check_shape(config)
    if misshapen:
        return misshapen
    return [f for check in CONFIG_CHECKS for f in _guarded("config", check, config)]


def inspect_data_set(one: DataSet) -> list[Finding]:
    """Runs ``DATA_CHECKS``."""
    return [f for check in DATA_CHECKS for f in _guarded(AREA, check, one)]


def _guarded(area: str, check: Callable[[Any], list[Finding]], subject: Any) -> list[Finding]:
    try:
        return check(subject)
    except UserError as error:
        return [problem(area, error)]
    except Exception as error:  # a config may hold anything; a look at it must not end a run
        where = f"{subject.title}: " if isinstance(subject, DataSet) else ""
        what = check.__name__.replace("_", " ").strip()
        text = f"{where}{what} ended with {type(error).__name__}: {error}"
        return [Finding(area, Level.WARNING, text, fix="Look for a value of an unusual type.")]
