#!/usr/bin/env python
"""CDDA's command for its bank of source crops; tools/build_depth_bank.py has more options."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.run_seg import main

if __name__ == "__main__":
    run_tool(main)
