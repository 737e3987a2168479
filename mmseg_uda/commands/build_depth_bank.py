"""Draw the bank of source crops that CDDA compares target images with.

    python tools/build_depth_bank.py --config configs/cdda/gta2cs_cdda_daformer.py \\
        --out preprocessed/gta_daformer

A training builds a missing bank by itself; this builds it beforehand. The same command goes on
after an interruption, and does nothing when the bank is there.
"""

from __future__ import annotations

import argparse
import sys

from mmseg_uda.cfg_options import add_config_flag
from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.data_root import add_data_root_option, use_data_root
from mmseg_uda.errors import UserError


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Draw CDDA's bank of source crops.")
    parser.add_argument("--config", required=True, help="config of the training")
    parser.add_argument("--out", help="folder of the bank (default: uda.depth.bank of the config)")
    parser.add_argument(
        "--count", type=int, help="crops (default: the config's; else one per image)"
    )
    parser.add_argument(
        "--sampling", choices=("rcs", "uniform"), help="by class as published, or image by image"
    )
    parser.add_argument("--seed", type=int, help="of the draws (default: the config's, else 0)")
    parser.add_argument(
        "--workers", type=worker_count, help="processes (default: the config's, else 4)"
    )
    parser.add_argument("--force", action="store_true", help="replace a bank of other settings")
    add_data_root_option(parser)
    add_config_flag(parser)
    return parser.parse_args()


def main() -> None:
    """Builds."""
    args = parse_args()
    use_data_root(args.data_root)

    from mmseg_uda.engine.config_file import load_config
    from mmseg_uda.findings import warnings_of
    from mmseg_uda.inspection import inspect_source
    from mmseg_uda.methods.cdda import build_bank
    from mmseg_uda.methods.cdda.command import bank_folder, build_options, draws_of_config

    cfg = load_config(args.config, args.cfg_options)
    out = args.out or bank_folder(cfg)
    if out is None:
        raise UserError(f"{args.config} names no uda.depth.bank.", fix="Give --out DIR.")
    # Drawing takes hours: what the files show is told before.
    for finding in warnings_of(inspect_source(cfg)):
        print(f"Warning: {finding}", file=sys.stderr)
    workers = build_options(cfg).get("workers", 4) if args.workers is None else args.workers
    draws = draws_of_config(cfg, count=args.count, sampling=args.sampling, seed=args.seed)
    build_bank(draws, out, workers, force=args.force)
    print(f"{len(draws)} crops are in {out}; uda.depth.bank={out} uses them.")
