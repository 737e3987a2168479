"""torchrun with the training's exit status and without tracebacks of its own."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.dist_run import main

if __name__ == "__main__":
    run_tool(main)
