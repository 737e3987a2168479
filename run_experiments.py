#!/usr/bin/env python
"""Trains the papers' tables: ``python run_experiments.py --list`` shows them."""

from experiments import EXPERIMENTS
from mmseg_uda.cli import run_tool
from mmseg_uda.experiments.cli import main

if __name__ == "__main__":
    run_tool(lambda: main(EXPERIMENTS))
