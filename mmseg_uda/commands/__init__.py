"""``mmseg-uda COMMAND``: the scripts of a checkout under one name, from any folder.

No torch before a command is chosen. An installed package carries the scripts and configs of its
checkout in ``.mim``, as mmsegmentation's does (setup.py).
"""

from __future__ import annotations

import difflib
import os
import runpy
import sys
from pathlib import Path

from mmseg_uda import __version__
from mmseg_uda.calling import CALLED, COMMANDS, NAME, ROOT
from mmseg_uda.cli import run_tool
from mmseg_uda.errors import UserError


def main() -> None:
    """Runs the command that the first argument names; its options are those of its script.

    Ends the process: status 0 after a help text, 2 for an unknown command.
    """
    run_tool(_choose)


def _choose() -> None:
    name, *options = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(f"usage: {NAME} COMMAND [options]\n\ncommands ({NAME} COMMAND --help for options):")
        for known, (_, purpose) in COMMANDS.items():
            print(f"  {known:{width}s}  {purpose}")
    elif name == "--version":
        print(__version__)
    elif name in COMMANDS:
        script = Path(ROOT, COMMANDS[name][0])
        os.environ[CALLED] = name
        sys.argv = [str(script), *(["--list"] if name == "list" else []), *options]
        sys.path.insert(0, str(script.parent))  # where Python puts the folder of a script
        runpy.run_path(str(script), run_name="__main__")
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        fix = f"Did you mean {near[0]}?" if near else f"Choose one that {NAME} --help lists."
        raise UserError(f"There is no command {name[:200]!r}.", fix=fix)
