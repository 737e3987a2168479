"""Converts SYNTHIA-RAND-CITYSCAPES labels (16-bit PNGs) to trainIds.

python tools/convert_datasets/synthia.py data/synthia/ --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.labels import convert_synthia
from mmseg_uda.labels.conversion import parse_options


def main() -> None:
    """Runs the conversion."""
    args = parse_options(__doc__.splitlines()[0], gt_dir="GT/LABELS", nproc=4)
    convert_synthia(args.root, args.gt_dir, args.out_dir, args.nproc)


if __name__ == "__main__":
    run_tool(main)
