"""Write model-index.yml and the configs' metafiles anew: python tools/make_metafiles.py."""

from mmseg_uda.cli import run_tool
from mmseg_uda.commands.make_metafiles import main

if __name__ == "__main__":
    run_tool(main)
