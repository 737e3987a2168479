"""How a user calls the commands: a checkout's scripts, or ``mmseg-uda COMMAND``.

Texts of this package write commands as a checkout has them; :func:`as_called` brings a text into
the form that its reader can call. Errors, findings and help texts do so themselves.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

NAME = "mmseg-uda"
CALLED = "MMSEG_UDA_COMMAND"
"""Environment variable: the command that ``mmseg-uda`` was called with, for all its processes."""
_PACKED = Path(__file__).resolve().parent / ".mim"
PACKED = _PACKED.is_dir()
"""Whether this is an installed package, which has no checkout."""
ROOT = _PACKED if PACKED else _PACKED.parents[1]
"""Folder of configs, tools and scripts: the checkout, or its copy in an installed package."""

COMMANDS = {
    "list": ("run_experiments.py", "the papers' tables, and their rows with --exp"),
    "run": ("run_experiments.py", "train rows of a table"),
    "train": ("tools/train.py", "train a config"),
    "test": ("tools/test.py", "evaluate a checkpoint"),
    "infer": ("tools/infer.py", "segment images"),
    "publish": ("tools/publish.py", "write a trained model as a folder, or to the hub"),
    "doctor": ("tools/doctor.py", "check installation, weights and data"),
    "show-config": ("tools/show_config.py", "print a config, or compare two"),
    "benchmark": ("tools/benchmark.py", "measure time and memory of a step"),
    "init": ("tools/new_project.py", "begin a training on own data"),
    "miniworld": ("tools/make_miniworld.py", "draw the miniature data sets"),
    "dynalign": ("tools/dynalign.py", "bring predictions into another taxonomy"),
    "align": ("tools/align.py", "run the alignment of a config"),
    "dist-run": ("tools/dist_run.py", "run a command on several GPUs"),
    "draft-taxonomy": ("tools/draft_taxonomy.py", "draft the map between two taxonomies"),
    "build-depth-bank": ("tools/build_depth_bank.py", "cut the depth bank of CDDA"),
    "render-depth": ("tools/render_depth.py", "estimate depth of a data set"),
    "convert-gta": ("tools/convert_datasets/gta.py", "convert GTA's labels"),
    "convert-gta16": ("tools/convert_datasets/gta16.py", "convert GTA's labels with 16 classes"),
    "convert-synthia": ("tools/convert_datasets/synthia.py", "convert SYNTHIA's labels"),
    "convert-cityscapes": ("tools/convert_datasets/cityscapes.py", "convert Cityscapes' labels"),
    "convert-camvid": ("tools/convert_datasets/camvid.py", "convert CamVid's labels"),
    "write-splits": ("tools/convert_datasets/splits.py", "write the lists of published splits"),
    "run-seg": ("run_seg.py", "CDDA's published command for its bank"),
    "dynalign-mapillary": ("dynalign_mapillary.py", "DynAlign's published command"),
}
"""Name of a command -> its script and its purpose."""

_NAMES = {script: name for name, (script, _) in COMMANDS.items()}
_SCRIPT = re.compile(rf"(?<![\w./-])(?:python )?({'|'.join(map(re.escape, _NAMES))})(?![\w/])")
_PAGE = re.compile(r"(?<![\w./-])docs/\w+\.md")
_EXTRA = re.compile(r"pip install -e '?\.(\[\w+\])'?(?: -c constraints\.txt)?")


def as_called(text: str) -> str:
    """Returns a text with commands, pages and extras as its reader can call, open and install them.

    'python tools/infer.py' becomes 'mmseg-uda infer' where the program was called so and in an
    installed package, which also has its pages elsewhere.
    """
    if PACKED or CALLED in os.environ:
        text = _SCRIPT.sub(lambda found: f"{NAME} {_NAMES[found[1]]}", text)
    if PACKED:
        text = _PAGE.sub(lambda found: str(ROOT / found[0]), text)
        text = _EXTRA.sub(r"pip install 'mmseg_uda\1'", text)
    return text


def program() -> str:
    """Returns how this process was called: 'tools/infer.py' or 'mmseg-uda infer'."""
    script = Path(sys.argv[0])
    resolved = script.resolve()
    if not resolved.is_relative_to(ROOT):
        return script.name
    name = resolved.relative_to(ROOT).as_posix()
    called = os.environ.get(CALLED, "")
    own = COMMANDS.get(called, ("", ""))[0] == name
    return f"{NAME} {called}" if own else as_called(name)
