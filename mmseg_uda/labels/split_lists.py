"""List files of the published splits of data sets whose folders do not tell them."""

from __future__ import annotations

from pathlib import Path

from mmseg_uda.files import write_text
from mmseg_uda.taxonomy import LIST_FOLDER, published_split


def write_split_lists(dataset: str, root: Path) -> dict[str, int]:
    """Writes ``splits/<split>.txt`` below the root: one frame name per line, without suffix.

    The images stay where they are, in one folder or in several; a data set reads the part that
    its option ``file_list`` names.

    Args:
        dataset: 'gta' or 'synthia'.
        root: Root folder of the data set.

    Returns:
        Number of frames per split.

    Raises:
        UserError: Unknown data set.
    """
    splits = published_split(dataset)
    for split, names in splits.items():
        write_text(root / LIST_FOLDER / f"{split}.txt", "".join(f"{name}\n" for name in names))
    return {split: len(names) for split, names in splits.items()}
