"""Converts Cityscapes annotations (polygons or label ids) to trainIds.

python tools/convert_datasets/cityscapes.py data/cityscapes --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.convert import cityscapes

if __name__ == "__main__":
    run_tool(cityscapes)
