"""Segment images: python tools/infer.py CONFIG CHECKPOINT IMAGES_OR_FOLDERS... --out DIR."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.infer import main

if __name__ == "__main__":
    run_tool(main)
