#!/usr/bin/env python
"""DynAlign's published command, with its options; tools/dynalign.py has more."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.dynalign_mapillary import main

if __name__ == "__main__":
    run_tool(main)
