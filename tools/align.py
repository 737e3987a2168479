"""Run the alignment that a config describes: python tools/align.py CONFIG [--work-dir DIR]."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.align import main

if __name__ == "__main__":
    run_tool(main)
