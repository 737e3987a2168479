"""What the converters share: finding labels, running in parallel, writing labels and statistics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing, write_json
from mmseg_uda.places import require_folder
from mmseg_uda.taxonomy import Taxonomy, load_taxonomy
from mmseg_uda.taxonomy.companions import belongs, kinds
from mmseg_uda.taxonomy.folders import Leftovers, scan
from mmseg_uda.wording import listed

PUBLISHED_FILE = "sample_class_stats.json"
LABEL_SUFFIX = "_labelTrainIds.png"
TAXONOMY = "cityscapes19"
Counts = dict[int, int]
"""trainId -> pixels, for the classes that occur."""


def find_raw_labels(folder: Path) -> list[Path]:
    """Returns the PNGs whose name ends with a digit, sorted; converted labels do not.

    Warns of other files that look like labels.

    Raises:
        UserError: There is none.
    """
    left = Leftovers()
    every = sorted(scan(folder, ".png", left))
    names = [name for name in every if name[:-4][-1:].isdigit()]
    others = [*left.others, *left.unusable, *(set(every) - set(names))]
    warn_of_others(folder, names, others, ".png")
    if not names:
        raise UserError(
            f"No label files <number>.png in {folder}.",
            fix="Give the root folder of the data set, and --gt-dir if its label folder has "
            "another name.",
        )
    return [folder / name for name in names]


def warn_of_others(folder: Path, names: Sequence[str], others: Iterable[str], suffix: str) -> None:
    """Says on standard error which files look like labels and are not converted.

    Args:
        folder: Of the labels.
        names: What is converted.
        others: What else lies there; what belongs to a converted file is not told.
        suffix: End of the names.
    """
    stems = {name[: -len(suffix)] for name in names}
    foreign = sorted(name for name in others if not belongs(name, suffix, stems))
    if foreign:
        print(
            f"Warning: {folder}: {len(names)} label files are converted; {len(foreign)} with other "
            f"names ({kinds(foreign, suffix)}) are not, the first is {foreign[0]}",
            file=sys.stderr,
        )


def raw_table(
    taxonomy: Taxonomy, dataset: str, values: int, remap: str | None = None
) -> np.ndarray:
    """Returns the trainId of each raw id; uint8, (values,). Ids without a class are ignored.

    Args:
        taxonomy: Holds the ids.
        dataset: Entry of ``taxonomy.raw_ids``.
        values: Number of values that a raw label can have.
        remap: Entry of ``taxonomy.remaps`` to apply afterwards.
    """
    table = np.full(values, taxonomy.ignore_index, np.uint8)
    further = taxonomy.lookup(remap)
    for raw_id, train_id in taxonomy.raw_ids[dataset].items():
        table[raw_id] = further[train_id]
    return table


def count_classes(label: np.ndarray, ignore_index: int) -> Counts:
    """Counts the pixels of each class that occurs in a trainId label (H, W) uint8."""
    counts = np.bincount(label.ravel(), minlength=256)
    counts[ignore_index] = 0
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}


def write_label(path: Path, label: np.ndarray) -> None:
    """Writes a trainId label (H, W) uint8 as a grey PNG."""
    with replacing(path) as temporary:
        Image.fromarray(label).save(temporary)


def doubtful_ids(taxonomy: Taxonomy, dataset: str, present: Iterable[int]) -> dict[str, str]:
    """Returns what is doubtful about the ids of a raw label; see ``Converted.doubts``.

    Args:
        taxonomy: Holds the ids.
        dataset: Entry of ``taxonomy.raw_ids``.
        present: Ids that occur.
    """
    ids, ignored = sorted(set(present)), taxonomy.ignore_index
    space = taxonomy.space_of(dataset)
    high = [i for i in ids if i > taxonomy.raw_id_ends[dataset] and i != ignored]
    if high:
        return {f"they hold ids that are none of {space} and become unlabelled": listed(high)}
    if ignored in ids and max(set(ids) - {ignored}, default=0) < len(taxonomy):
        return {f"their ids look like trainIds, but are read as those of {space}": listed(ids)}
    return {}


def write_statistics(out_dir: Path, statistics: Iterable[tuple[Path, Counts]]) -> None:
    """Writes the three JSON files of class statistics that DAFormer's tools read, if there are any.

    ``sample_class_stats.json``: list of {"<trainId>": pixels, ..., "file": label path};
    ``sample_class_stats_dict.json``: {label path: {"<trainId>": pixels}};
    ``samples_with_class.json``: {"<trainId>": [[label path, pixels], ...]}.
    """
    rows, by_file, by_class = [], {}, {}  # type: ignore[var-annotated]
    for path, counts in statistics:
        name = path.as_posix()
        rows.append({**{str(c): n for c, n in counts.items()}, "file": name})
        by_file[name] = {str(c): n for c, n in counts.items()}
        for class_id, pixels in counts.items():
            by_class.setdefault(class_id, []).append([name, pixels])
    if not rows:
        return
    write_json(out_dir / PUBLISHED_FILE, rows, indent=None)
    write_json(out_dir / "sample_class_stats_dict.json", by_file, indent=None)
    samples = {str(c): by_class[c] for c in sorted(by_class)}
    write_json(out_dir / "samples_with_class.json", samples, indent=None)


def taxonomy() -> Taxonomy:
    """Returns the taxonomy whose trainIds the converters write."""
    return load_taxonomy(TAXONOMY)


def parse_options(description: str, gt_dir: str, nproc: int) -> argparse.Namespace:
    """Parses the command line that all converters have: root, --gt-dir, --out-dir, --nproc.

    Raises:
        UserError: The folder for statistics cannot be written to.
    """
    parser = Parser(description=description)
    parser.add_argument("root", type=Path, help="root folder of the data set")
    parser.add_argument("--gt-dir", default=gt_dir, help=f"label folder below it ({gt_dir})")
    parser.add_argument(
        "-o", "--out-dir", type=Path, help="folder for statistics and lists (the root folder)"
    )
    parser.add_argument("--nproc", type=worker_count, default=nproc, help=f"processes ({nproc})")
    options = parser.parse_args()
    if options.out_dir is not None:  # it is needed at the end of the conversion
        require_folder(options.out_dir)
    return options
