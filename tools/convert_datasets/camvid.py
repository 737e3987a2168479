"""Converts CamVid labels (colour-coded PNGs of 32 classes) to trainIds of 11 classes.

python tools/convert_datasets/camvid.py data/camvid --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.convert import camvid

if __name__ == "__main__":
    run_tool(camvid)
