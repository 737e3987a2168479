"""Converts GTA labels (palette PNGs) to trainIds.

python tools/convert_datasets/gta.py data/gta --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.convert import gta

if __name__ == "__main__":
    run_tool(gta)
