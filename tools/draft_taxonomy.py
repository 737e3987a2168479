"""Drafts a map between two taxonomies with a language model of your choice; nothing is sent."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.draft_taxonomy import main

if __name__ == "__main__":
    run_tool(main)
