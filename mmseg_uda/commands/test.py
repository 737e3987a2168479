"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT, or a training's folder alone.

Builds the plain segmentor only: no teacher, no vision-language model, no source data.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmseg_uda.cli import (
    Parser,
    add_config_options,
    add_inference_options,
    add_tta_options,
    apply_environment,
    run_name,
)
from mmseg_uda.errors import UserError
from mmseg_uda.places import require_folder


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Evaluate a checkpoint.")
    parser.add_argument("config", help="config file, or the folder of a training")
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="checkpoint of this project, mmseg or a reference code, or a published model "
        "(folder or hf://owner/name), whose network replaces the config's; of a training's folder "
        "its newest one if left out",
    )
    parser.add_argument("--out", metavar="DIR", help="also write trainId PNGs (for test servers)")
    parser.add_argument(
        "--format-only", action="store_true", help="write --out without computing the metric"
    )
    add_inference_options(parser)
    parser.add_argument(
        "--test-set", action="store_true", help="use the data set's test split (needs --out)"
    )
    parser.add_argument(
        "--targets", nargs="+", metavar="NAME", help="of a config with several targets: only these"
    )
    parser.add_argument("--teacher", action="store_true", help="evaluate the teacher's weights")
    parser.add_argument(
        "--hrda-out", choices=["LR", "HR", "ATT"], help="HRDA: context, detail or attention only"
    )
    add_tta_options(parser)
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Evaluates."""
    args = parse_args()
    apply_environment(args)

    from mmseg_uda.engine.checkpoint import newest_checkpoint, recorded_config, run_folder
    from mmseg_uda.engine.config_file import load_network_config
    from mmseg_uda.engine.processes import check_launcher, leave_processes
    from mmseg_uda.engine.runner import configure_threads
    from mmseg_uda.engine.testing import set_inference, test_checkpoint
    from mmseg_uda.engine.tta import augmentations_from
    from mmseg_uda.models.weights import is_published, local_folder

    check_launcher(args.launcher)
    if is_published(args.config):
        raise UserError(
            f"{args.config} is a published model, which names no data to test on.",
            fix=f"Give the config of an evaluation before it: tools/test.py CONFIG {args.config}",
        )
    if os.path.isdir(args.config):
        folder = Path(args.config)
        args.config = recorded_config(folder)
        args.work_dir = args.work_dir or str(folder)
        args.checkpoint = args.checkpoint or newest_checkpoint(folder)
    if args.checkpoint is None:
        raise UserError(
            "tools/test.py CONFIG wants a checkpoint, too.",
            fix="Name it after the config, or give the folder of a training alone.",
        )
    cfg = load_network_config(args.config, args.cfg_options)
    if is_published(args.checkpoint):  # the network is its own, the data are the config's
        args.checkpoint = local_folder(args.checkpoint)
        options = [one for one in args.cfg_options if one.startswith("model.")]
        cfg.model = load_network_config(args.checkpoint, options).model
        cfg.pop("crop_size", None)  # of the config's own network; the model has its own
    own = args.work_dir or run_folder(args.checkpoint)
    cfg.work_dir = own or cfg.get("work_dir") or f"work_dirs/{run_name(args.config)}"
    cfg.launcher = args.launcher
    set_inference(cfg, args.inference_mode, args.sequential_slide)
    for folder in filter(None, (cfg.work_dir, args.out)):
        require_folder(folder)
    configure_threads()
    metrics = test_checkpoint(
        cfg,
        args.checkpoint,
        part="ema_model" if args.teacher else "model",
        out_dir=args.out,
        format_only=args.format_only,
        test_split=args.test_set,
        targets=args.targets,
        hrda_output=args.hrda_out,
        augmentations=augmentations_from(args),
    )
    leave_processes()
    if "mIoU" in metrics and int(os.environ.get("RANK", 0)) == 0:
        for name, value in metrics.items():
            if name.endswith("/mIoU"):
                print(f"mIoU of {name.removesuffix('/mIoU')}: {value:.2f}")
        print(f"mIoU: {metrics['mIoU']:.2f}")
