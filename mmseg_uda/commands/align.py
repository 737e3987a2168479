"""Run the alignment that a config describes: python tools/align.py CONFIG [--work-dir DIR].

run_experiments.py runs these configs beside its trainings; tools/dynalign.py aligns any images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_uda.cfg_options import add_config_flag
from mmseg_uda.cli import Parser, run_name
from mmseg_uda.data_root import add_data_root_option, use_data_root


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Run the alignment that a config describes.")
    parser.add_argument("config", help="config file with 'alignment', 'source' and 'data'")
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/NAME_OF_CONFIG")
    add_data_root_option(parser)
    parser.add_argument("--amp", choices=["bf16", "fp16"], help="mixed precision of the segmenter")
    add_config_flag(parser)
    return parser.parse_args()


def main() -> int:
    """Aligns; 1 if images of the evaluation failed.

    Labels for training may lack some images: the data set leaves them out.
    """
    args = parse_args()
    use_data_root(args.data_root)

    from mmseg_uda.apis.alignment.command import report
    from mmseg_uda.apis.alignment.job import run_alignment
    from mmseg_uda.engine.config_file import load_config
    from mmseg_uda.engine.runner import configure_threads

    configure_threads()
    work_dir = Path(args.work_dir or f"work_dirs/{run_name(args.config)}")
    summaries = run_alignment(load_config(args.config, args.cfg_options), work_dir, args.amp)
    failed = {name: report(summary, work_dir / name) for name, summary in summaries.items()}
    return failed.get("evaluate", 0)
