"""Print a config value by value, with the file that says each, or compare two configs."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.show_config import main

if __name__ == "__main__":
    run_tool(main)
