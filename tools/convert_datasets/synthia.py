"""Converts SYNTHIA-RAND-CITYSCAPES labels (16-bit PNGs) to trainIds.

python tools/convert_datasets/synthia.py data/synthia/ --nproc 8
"""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.convert import synthia

if __name__ == "__main__":
    run_tool(synthia)
