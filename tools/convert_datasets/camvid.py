"""Converts CamVid labels (colour-coded PNGs of 32 classes) to trainIds of 11 classes.

python tools/convert_datasets/camvid.py data/camvid --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.labels import convert_camvid
from mmseg_uda.labels.conversion import parse_options


def main() -> None:
    """Runs the conversion."""
    args = parse_options(__doc__.splitlines()[0], gt_dir="LabeledApproved_full", nproc=4)
    convert_camvid(args.root, args.gt_dir, args.out_dir, args.nproc)


if __name__ == "__main__":
    run_tool(main)
