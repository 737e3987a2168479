"""Converts GTA labels to trainIds without terrain, truck and train.

python tools/convert_datasets/gta16.py data/gta16 --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.convert import gta16

if __name__ == "__main__":
    run_tool(gta16)
