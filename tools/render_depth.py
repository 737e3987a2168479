"""Render depth files with Depth Anything V2."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.render_depth import main

if __name__ == "__main__":
    run_tool(main)
