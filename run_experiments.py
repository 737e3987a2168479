#!/usr/bin/env python
"""Trains the papers' tables: ``python run_experiments.py --list`` shows them."""

import sys

from experiments import EXPERIMENTS
from mmseg_uda.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main(EXPERIMENTS))
