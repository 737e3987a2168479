"""Writes the lists of a published split: training and validation frames of GTA or SYNTHIA.

python tools/convert_datasets/splits.py gta data/gta
python tools/convert_datasets/splits.py synthia data/synthia
"""

from pathlib import Path

from mmseg_uda.cli import Parser
from mmseg_uda.errors import UserError
from mmseg_uda.labels import write_split_lists
from mmseg_uda.taxonomy import LIST_FOLDER, available_splits


def main() -> None:
    """Writes the lists."""
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", choices=available_splits())
    parser.add_argument("root", type=Path, help="root folder of the data set")
    args = parser.parse_args()
    if not args.root.is_dir():
        raise UserError(f"There is no folder {args.root}.", fix="Give the data set's root folder.")
    for split, count in write_split_lists(args.dataset, args.root).items():
        print(f"{args.root / LIST_FOLDER / split}.txt: {count} frames")
