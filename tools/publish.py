"""Write a student alone: python tools/publish.py CHECKPOINT_OR_FOLDER [OUT]."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.publish import main

if __name__ == "__main__":
    run_tool(main)
