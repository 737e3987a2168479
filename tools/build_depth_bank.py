"""Draw the bank of source crops that CDDA compares target images with."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.build_depth_bank import main

if __name__ == "__main__":
    run_tool(main)
