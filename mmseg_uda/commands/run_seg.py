"""CDDA's command for its bank of source crops; tools/build_depth_bank.py has more options.

python run_seg.py --config configs/cdda/gta2cs_cdda_daformer.py --dataset_name gta \\
    --source_preprocessed_path preprocessed/gta_daformer
"""

from __future__ import annotations

import argparse

from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.data_root import add_data_root_option, use_data_root
from mmseg_uda.errors import UserError

# Source data set in our configs, and number of crops of the published banks.
DATASETS = {"gta": ("GTA", 24966), "synthia": ("SYNTHIA", 9400)}


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Draw CDDA's bank of source crops.")
    parser.add_argument("--config", default="configs/cdda/gta2cs_cdda_daformer.py")
    parser.add_argument("--dataset_name", default="gta", help=" or ".join(DATASETS))
    parser.add_argument("--source_preprocessed_path", default="preprocessed/gta_daformer")
    parser.add_argument(
        "--not_get_images", action="store_true", help="only count the crops that are there"
    )
    parser.add_argument(
        "--not_get_distributions", action="store_true", help="only draw crops, count later"
    )
    parser.add_argument("--count", type=int, help="crops, in place of the published number")
    parser.add_argument("--workers", type=worker_count, default=4)
    add_data_root_option(parser)
    for unused in ("--machine", "--exp"):
        parser.add_argument(unused, help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Draws crops, counts them, or both."""
    args = parse_args()
    if args.not_get_images and args.not_get_distributions:
        raise UserError(
            "--not_get_images and --not_get_distributions together leave nothing to do.",
            fix="Leave one of them out.",
        )
    if args.dataset_name not in DATASETS:
        raise UserError(
            f"--dataset_name {args.dataset_name} is unknown.", fix=f"Use {' or '.join(DATASETS)}."
        )
    if args.exp is not None:
        raise UserError("--exp does not say which crops to draw.", fix="Give --config FILE.")
    use_data_root(args.data_root)

    from mmseg_uda.engine.config_file import load_config
    from mmseg_uda.methods.cdda import build_bank, count_bank
    from mmseg_uda.methods.cdda.command import draws_of_config

    # The original's examples leave the suffix out.
    cfg = load_config(args.config if args.config.endswith(".py") else f"{args.config}.py")
    kind, count = DATASETS[args.dataset_name]
    source = cfg.train_dataloader.dataset.get("source") or {}
    if source.get("type") != kind:
        raise UserError(
            f"--dataset_name {args.dataset_name} does not go with {args.config}, whose source is "
            f"{source.get('type')}.",
            fix="Give the config of the training that will use the bank.",
        )
    draws = draws_of_config(cfg, count=args.count or count)
    out = args.source_preprocessed_path
    if args.not_get_images:
        count_bank(out, draws.meta)
    else:
        build_bank(draws, out, args.workers, histograms=not args.not_get_distributions)
    print(f"The bank is in {out}; uda.depth.bank={out} uses it.")
