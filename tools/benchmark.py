"""Time the training step of configs, each run in one or several ways, and its peak memory."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.benchmark import main

if __name__ == "__main__":
    run_tool(main)
