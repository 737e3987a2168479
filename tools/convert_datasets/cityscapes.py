"""Converts Cityscapes annotations (polygons or label ids) to trainIds.

python tools/convert_datasets/cityscapes.py data/cityscapes --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.labels import convert_cityscapes
from mmseg_uda.labels.conversion import parse_options


def main() -> None:
    """Runs the conversion."""
    args = parse_options(__doc__.splitlines()[0], gt_dir="gtFine", nproc=1)
    convert_cityscapes(args.root, args.gt_dir, args.out_dir, args.nproc)


if __name__ == "__main__":
    run_tool(main)
