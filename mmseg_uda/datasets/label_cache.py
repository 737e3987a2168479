"""What is computed once from every label file of a data set, and kept for all later trainings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import barrier, is_main_process

from mmseg_uda.errors import UserError, of_many
from mmseg_uda.files import read_json, write_json
from mmseg_uda.labels import cache_files, fingerprint_of
from mmseg_uda.labels.statistics_files import CACHE_VARIABLE
from mmseg_uda.pool import map_in_processes
from mmseg_uda.progress import track

if TYPE_CHECKING:
    from .taxonomy_dataset import TaxonomyDataset

MIN_PARALLEL = 200


def label_names(dataset: TaxonomyDataset) -> tuple[list[str], list[str]]:
    """Returns the path of every label file, and its name below the label folder."""
    paths = [dataset.label_path(i) for i in range(len(dataset))]
    folder = str(dataset.location.label_folder)
    return paths, [Path(path).relative_to(folder).as_posix() for path in paths]


def cached_per_label(
    dataset: TaxonomyDataset,
    kind: str,
    key: str,
    compute: Callable[[str], Any],
    description: str,
    check: Callable[[Any, Path, str], Any],
    options: str = "",
) -> list[Any]:
    """Returns ``compute(path)`` for every label file, from a file that all trainings share.

    The file lies beside the data, or in the user's cache directory when the data set is read-only.
    It is made by the main process, with a progress bar, and anew when a label file is added,
    removed or written.

    Args:
        dataset: Its labels.
        kind: Begins the file's name.
        key: Of the values in the file.
        compute: Label path -> something that JSON can hold; may run in other processes.
        description: For the progress bar; '{}' stands for the number of files.
        check: (value, path of the file that holds it, name of the label) -> what is returned in
            place of the value.
        options: What else the values depend on.

    Raises:
        UserError: Labels are damaged or wrong; names all of them. Or the file is damaged, or cannot
            be kept anywhere.
    """
    paths, names = label_names(dataset)
    root = Path(dataset.location.root)
    candidates = cache_files(root, fingerprint_of(paths, names, options), kind)
    if is_main_process() and _read(candidates, key, names, check) is None:
        values = list(_compute(paths, compute, description.format(len(paths))))
        failures = [value for value in values if isinstance(value, UserError)]
        if failures:
            raise of_many(failures, len(paths), "label files cannot be used")
        content = {key: dict(zip(names, values, strict=True))}
        _write(candidates, content)
    barrier()
    stored = _read(candidates, key, names, check)
    if stored is None:
        places = ", ".join(map(str, candidates))
        raise UserError(
            f"None of {places} can be read.",
            fix="All processes have to see the folder of one of them.",
        )
    return stored


def _write(candidates: Sequence[Path], content: Any) -> None:
    refused = []
    for path in candidates:
        try:
            write_json(path, content, indent=None)
            return
        except OSError as error:
            refused.append(f"{path.parent}: {error.strerror or error}")
    raise UserError(
        f"What was counted in the label files cannot be kept: {'; '.join(refused)}.",
        fix=f"Set {CACHE_VARIABLE} to a folder that you may write to.",
    )


def _read(
    candidates: Sequence[Path], key: str, names: Sequence[str], check: Callable[..., Any]
) -> list[Any] | None:
    for path in candidates:
        content = read_json(path)
        values = content.get(key) if isinstance(content, dict) else None
        if isinstance(values, dict) and all(name in values for name in names):
            return [check(values[name], path, name) for name in names]
    return None


def _compute(
    paths: Sequence[str], compute: Callable[[str], Any], description: str
) -> Iterator[Any]:
    attempt = partial(_attempt, compute)
    if len(paths) < MIN_PARALLEL:
        yield from map(attempt, track(paths, description))
        return
    results = map_in_processes(attempt, paths, min(os.cpu_count() or 1, 16), chunk=16)
    yield from track(results, description, len(paths))


def _attempt(compute: Callable[[str], Any], path: str) -> Any:
    try:
        return compute(path)
    except UserError as error:  # one of thousands: the others are wrong, too, or are not
        return error
