"""Train the miniature weights that come with the package anew: python tools/ship_weights.py.

For developers, after a change of what they are made by; a test says when that is due.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.miniworld.prepare import WEIGHTS, ship_weights


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        description="Train the miniature weights that come with the package anew (about ten "
        "minutes on one core) and put them into mmseg_uda/miniworld/shipped."
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=WEIGHTS,
        default=list(WEIGHTS),
        metavar="NAME",
        help=f"some of {', '.join(WEIGHTS)}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/miniworld"),
        metavar="DIR",
        help="folder for the images that they are trained on (%(default)s)",
    )
    parser.add_argument(
        "--workers", type=worker_count, metavar="N", help="processes (one per core)"
    )
    return parser.parse_args()


def main() -> None:
    """Trains and packs."""
    args = parse_args()
    for archive in ship_weights(args.only, args.out, args.workers):
        print(f"{archive}  {archive.stat().st_size / 2**20:.2f} MiB")
