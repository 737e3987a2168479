"""``mmseg-uda COMMAND``: the scripts of a checkout under one name, from any folder.

No torch before a command is chosen. An installed package carries the scripts and configs of its
checkout in ``.mim``, as mmsegmentation's does (setup.py).
"""

from __future__ import annotations

import difflib
import runpy
import sys
from pathlib import Path

from mmseg_uda import __version__
from mmseg_uda.cli import report_error
from mmseg_uda.config_files import ROOT
from mmseg_uda.errors import UserError

NAME = "mmseg-uda"
COMMANDS = {
    "list": ("run_experiments.py", "the papers' tables, and their rows with --exp"),
    "run": ("run_experiments.py", "train rows of a table"),
    "train": ("tools/train.py", "train a config"),
    "test": ("tools/test.py", "evaluate a checkpoint"),
    "infer": ("tools/infer.py", "segment images"),
    "publish": ("tools/publish.py", "write the student of a checkpoint alone"),
    "doctor": ("tools/doctor.py", "check installation, weights and data"),
    "show-config": ("tools/show_config.py", "print a config, or compare two"),
    "benchmark": ("tools/benchmark.py", "measure time and memory of a step"),
    "init": ("tools/new_project.py", "begin a training on own data"),
    "miniworld": ("tools/make_miniworld.py", "draw the miniature data sets"),
    "align": ("tools/align.py", "run the alignment of a config"),
    "dist-run": ("tools/dist_run.py", "run a script on several GPUs"),
    "draft-taxonomy": ("tools/draft_taxonomy.py", "draft the map between two taxonomies"),
    "build-depth-bank": ("tools/build_depth_bank.py", "cut the depth bank of CDDA"),
    "render-depth": ("tools/render_depth.py", "estimate depth of a data set"),
}


def main() -> int:
    """Runs the command that the first argument names; its options are those of its script.

    Returns:
        0 after a help text, 2 for an unknown command. A script ends the process itself.
    """
    name, *options = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(f"usage: {NAME} COMMAND [options]\n\ncommands ({NAME} COMMAND --help for options):")
        for known, (_, purpose) in COMMANDS.items():
            print(f"  {known:{width}s}  {purpose}")
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        fix = f"Did you mean {near[0]}?" if near else f"Choose one that {NAME} --help lists."
        return report_error(UserError(f"There is no command {name[:200]!r}.", fix=fix))
    script = Path(ROOT, COMMANDS[name][0])
    sys.argv = [f"{NAME} {name}", *(["--list"] if name == "list" else []), *options]
    sys.path.insert(0, str(script.parent))  # where Python puts the folder of a script
    runpy.run_path(str(script), run_name="__main__")
    return 0
