"""Begin a training on own data: python tools/new_project.py NAME --source-images DIR ..."""

from mmseg_uda.cli import run_tool
from mmseg_uda.projects.command import main

if __name__ == "__main__":
    run_tool(main)
