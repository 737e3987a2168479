"""Write model-index.yml and the configs' metafiles anew: python tools/make_metafiles.py.

For developers, after a change of configs, tables or cards; a test says when that is due.
"""

from __future__ import annotations

import runpy

from mmseg_uda.calling import ROOT
from mmseg_uda.cli import Parser
from mmseg_uda.experiments.metafiles import metafiles


def main() -> None:
    """Writes them."""
    Parser(description="Write model-index.yml and the configs' metafiles anew.").parse_args()
    tables = runpy.run_path(str(ROOT / "experiments.py"))["EXPERIMENTS"]
    files = metafiles(tables, ROOT)
    for path, text in files.items():
        (ROOT / path).write_text(text, encoding="utf-8")
    print(f"{len(files)} files written.")
