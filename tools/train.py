"""Train a config: python tools/train.py CONFIG [--resume]."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.train import main

if __name__ == "__main__":
    run_tool(main)
