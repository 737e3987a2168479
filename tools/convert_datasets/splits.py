"""Writes the lists of a published split: training and validation frames of GTA or SYNTHIA."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.splits import main

if __name__ == "__main__":
    run_tool(main)
