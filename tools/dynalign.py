"""Bring a segmenter's predictions into another taxonomy (DynAlign): regions, texts, decision."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.dynalign import main

if __name__ == "__main__":
    run_tool(main)
