"""Converts GTA labels to trainIds without terrain, truck and train.

python tools/convert_datasets/gta16.py data/gta16 --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.labels import convert_gta16
from mmseg_uda.labels.conversion import parse_options


def main() -> None:
    """Runs the conversion."""
    args = parse_options(__doc__.splitlines()[0], gt_dir="labels", nproc=4)
    convert_gta16(args.root, args.gt_dir, args.out_dir, args.nproc)


if __name__ == "__main__":
    run_tool(main)
