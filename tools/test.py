"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT, or a training's folder alone."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.test import main

if __name__ == "__main__":
    run_tool(main)
