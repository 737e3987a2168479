"""Train the miniature weights that come with the package anew: python tools/ship_weights.py."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.ship_weights import main

if __name__ == "__main__":
    run_tool(main)
