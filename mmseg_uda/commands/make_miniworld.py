"""Make the miniature world: python tools/make_miniworld.py [--out DIR] [--seed N]."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_uda.cli import Parser, positive, worker_count
from mmseg_uda.miniworld import (
    DEVELOPMENT_SEED,
    REPORTED_SEED,
    STRENGTH,
    MiniworldPaths,
    WorldOptions,
    ensure_miniworld,
)
from mmseg_uda.miniworld.formats import write_rgb
from mmseg_uda.miniworld.prepare import DEFAULT_WEIGHTS, GROUPS, SEGMENTATION_DOMAINS
from mmseg_uda.miniworld.sheets import contact_sheet, crop_sheet
from mmseg_uda.miniworld.unseen import UNSEEN, WEB_DETAILS
from mmseg_uda.miniworld.web import DOMAIN
from mmseg_uda.miniworld.world import DEFAULT_COUNTS
from mmseg_uda.places import require_folder


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        description="Render the miniature world in the formats of the real data sets, and train "
        "the miniature networks. What is there already stays; an interrupted call goes on."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data/miniworld"),
        metavar="DIR",
        help="data folder (%(default)s)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("pretrained/miniworld"),
        metavar="DIR",
        help="folder for weights (%(default)s)",
    )
    parser.add_argument("--no-weights", action="store_true", help="render data sets only")
    parser.add_argument(
        "--seed",
        type=int,
        default=REPORTED_SEED,
        metavar="N",
        help=f"world seed (%(default)s); {DEVELOPMENT_SEED} for development",
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=STRENGTH,
        metavar="X",
        help="domain gap, 0 to 1 (%(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("W", "H"),
        default=(256, 128),
        help="image size (256 128)",
    )
    parser.add_argument(
        "--train",
        type=positive,
        metavar="N",
        help=f"training frames of every domain ({_counts('train', 'training')})",
    )
    parser.add_argument(
        "--val",
        type=positive,
        metavar="N",
        help=f"validation frames of every target domain ({_counts('val', 'validation')})",
    )
    parser.add_argument(
        "--domains",
        nargs="+",
        metavar="NAME",
        choices=(*SEGMENTATION_DOMAINS, *UNSEEN),
        default=SEGMENTATION_DOMAINS,
        help=f"some of {', '.join((*SEGMENTATION_DOMAINS, *UNSEEN))} "
        f"({' '.join(SEGMENTATION_DOMAINS)})",
    )
    parser.add_argument(
        "--with",
        nargs="+",
        dest="groups",
        default=(),
        choices=GROUPS,
        help="also make what these experiments need: generalization 50 and 500-, taxonomy 600-, "
        "transformers 700-",
    )
    parser.add_argument(
        "--skip",
        nargs="+",
        default=(),
        choices=DEFAULT_WEIGHTS,
        help="weights that are not needed; clip: for CSI alone",
    )
    parser.add_argument(
        "--workers", type=worker_count, metavar="N", help="processes (one per core)"
    )
    return parser.parse_args()


def _counts(*splits: str) -> str:
    found = sorted({n for own in DEFAULT_COUNTS.values() for s, n in own.items() if s in splits})
    return f"{found[0]} to {found[-1]} by domain"


def main() -> None:
    """Renders, converts, writes contact sheets."""
    args = parse_args()
    wanted = {"train": args.train, "training": args.train}
    wanted |= {"val": args.val, "validation": args.val}
    counts = {
        domain: {s: n if wanted[s] is None else wanted[s] for s, n in splits.items()}
        for domain, splits in DEFAULT_COUNTS.items()
    }
    width, height = args.size
    options = WorldOptions(args.seed, args.strength, width, height, counts)
    weights = None if args.no_weights else args.weights
    for folder in filter(None, (args.out, weights)):
        require_folder(folder)
    paths = ensure_miniworld(
        args.out,
        weights,
        options,
        args.domains,
        workers=args.workers,
        groups=args.groups,
        skip=args.skip,
    )
    for domain, folder in paths.data.items():
        sheet = folder / "contact_sheet.png"
        if domain in paths.seconds or not sheet.exists():
            web = domain in (DOMAIN, WEB_DETAILS)
            write_rgb(sheet, crop_sheet(folder) if web else contact_sheet(domain, options))
        print(f"{domain:18s} {_took(paths, domain):>10s}  {folder}  (look at {sheet.name})")
    for name, path in paths.weights.items():
        print(f"{name:18s} {_took(paths, name):>10s}  {path}")


def _took(paths: MiniworldPaths, part: str) -> str:
    return f"{paths.seconds[part]:.1f} s" if part in paths.seconds else "was there"
