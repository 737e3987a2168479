"""Make the miniature world: python tools/make_miniworld.py [--out DIR] [--seed N]."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.make_miniworld import main

if __name__ == "__main__":
    run_tool(main)
