"""Do the options of a config's trainer fit, and do its data sets make samples?

The first sample shows what no key and no header shows: a pipeline that fails, a transform of the
user's own. Nothing is trained, and nothing is written.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor.networks import not_built
from mmseg_uda.findings import Finding, Level, problem, unique
from mmseg_uda.labels import PUBLISHED_FILE

AREA = "config"
SAMPLINGS = ("rare_class_sampling", "class_uniform_sampling")


def check_build(configs: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Builds the options of trainers and the data sets, and draws a sample of each data set.

    Samplings by class are built where their statistics are there: counting takes as long as it
    takes a training.

    Args:
        configs: Resolved configs without other problems; their modules are imported.
    """
    findings: list[Finding] = []
    with _silence():
        for config in configs:
            for name, check in (("uda", _options), ("the data", _data)):
                try:
                    findings += check(config)
                except UserError as error:
                    findings.append(problem(AREA, error))
                except Exception as error:  # of any component, the user's own included
                    findings.append(not_built(name, error))
    told = unique(findings)
    if configs and not told:
        told.append(Finding(AREA, Level.OK, "data sets make samples."))
    return told


@contextmanager
def _silence() -> Iterator[None]:
    """Warnings about data are told by the checks themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _options(config: Mapping[str, Any]) -> list[Finding]:
    preflight.check_config_keys(config)
    return []


def _data(config: Mapping[str, Any]) -> list[Finding]:
    findings = []
    for loader in ("train_dataloader", "val_dataloader"):
        dataset = (config.get(loader) or {}).get("dataset")
        if dataset:
            findings += _attempt(f"{loader}.dataset", partial(_sample, dataset))
    return findings


def _sample(dataset: Mapping[str, Any]) -> None:
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS

    import mmseg_uda.datasets

    init_default_scope("mmseg")
    options = dict(dataset)
    known = {"rare_class_sampling": "RCS_KEYS", "class_uniform_sampling": "CUS_KEYS"}
    for name in SAMPLINGS:
        chosen = options.get(name)
        if chosen is None:
            continue
        unknown = set(chosen) - set(getattr(mmseg_uda.datasets.DomainPairDataset, known[name]))
        if not unknown and not _counted(options.get("source") or {}, name):
            options[name] = None
    built = DATASETS.build(options)
    # (seed, position) as the sampler of pairs gives them
    built[(0, 0) if isinstance(built, mmseg_uda.datasets.DomainPairDataset) else 0]


def _counted(source: Mapping[str, Any], sampling: str) -> bool:
    """Whether statistics of the source lie beside it."""
    from mmseg_uda.labels import cache_files
    from mmseg_uda.taxonomy import DataLocation

    root = Path(DataLocation.create(**source).root)
    if sampling == SAMPLINGS[0] and (root / PUBLISHED_FILE).is_file():
        return True
    kind = "class_stats" if sampling == SAMPLINGS[0] else "centroids"
    return any(any(path.parent.glob(f"{kind}_*.json")) for path in cache_files(root, "x", kind))


def _attempt(key: str, build: Callable[[], None]) -> list[Finding]:
    try:
        build()
    except UserError as error:
        return [problem(AREA, error)]
    except Exception as error:
        lines = str(error).strip().splitlines()
        text = f"{type(error).__name__}: {lines[0] if lines else ''}"
        text = f"{key}: its first sample cannot be made: {text}"
        return [Finding(AREA, Level.PROBLEM, text, fix="Correct its options and its pipeline.")]
    return []
