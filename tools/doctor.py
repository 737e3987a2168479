"""Check installation, weights and data: python tools/doctor.py [CONFIG ...] [--decode]."""

from mmseg_uda.cli import run_tool
from mmseg_uda.experiments.doctor.cli import main

if __name__ == "__main__":
    run_tool(main)
