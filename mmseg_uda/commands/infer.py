"""Segment images: python tools/infer.py CONFIG CHECKPOINT IMAGES_OR_FOLDERS... --out DIR.

A published model (a folder, or hf://owner/name of the Hugging Face hub) or a training's folder
stands for CONFIG and CHECKPOINT.

Writes per image a coloured PNG, a PNG of ids and an overlay, and a legend for all of them. The same
command continues after an interruption.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

from mmseg_uda.cfg_options import add_config_flag
from mmseg_uda.cli import (
    Parser,
    add_inference_options,
    add_tta_options,
    check_typing,
    worker_count,
)
from mmseg_uda.errors import UserError
from mmseg_uda.wording import number_of

KINDS = ("color", "ids", "overlay")


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Segment images of any size.")
    parser.add_argument(
        "config",
        help="config file of the training; or a published model (folder or hf://owner/name) or the "
        "folder of a training, which have a checkpoint of their own",
    )
    parser.add_argument(
        "checkpoint",
        help="checkpoint of this project, mmseg or a reference code, or a published model; "
        "left out behind a folder or hf://",
    )
    parser.add_argument("inputs", nargs="*", metavar="image", help="images, and folders of images")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the predictions")
    parser.add_argument(
        "--write", nargs="+", choices=KINDS, default=list(KINDS), help="what to write (all three)"
    )
    parser.add_argument(
        "--ids",
        default="train",
        metavar="NAME",
        help="ids of the id PNGs: 'train' (default), or the evaluation ids of a data set that the "
        "taxonomy lists: 'cityscapes' for labelIds; 'taxonomy' takes the first listed",
    )
    parser.add_argument("--opacity", type=float, default=0.5, help="of the overlay's colours (0.5)")
    parser.add_argument("--teacher", action="store_true", help="use the teacher's weights")
    parser.add_argument(
        "--hrda-outputs", action="store_true", help="also HRDA's context, detail and attention"
    )
    parser.add_argument(
        "--resize",
        type=parse_size,
        default="config",
        metavar="HOW",
        help="'config' (default) resizes as in testing, 'none' keeps the image's resolution, "
        "1024x512 is the largest size; predictions have the image's size in any case",
    )
    add_inference_options(parser)
    add_tta_options(parser)
    parser.add_argument("--amp", choices=["bf16", "fp16"], help="mixed precision (default: fp32)")
    parser.add_argument("--batch-size", type=int, default=1, help="images at once (1)")
    parser.add_argument(
        "--workers", type=worker_count, default=4, help="threads that read and write (4)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU if there is one)")
    parser.add_argument(
        "--overwrite", action="store_true", help="predict images anew that are there already"
    )
    add_config_flag(parser)
    return parser.parse_args()


def parse_size(text: str) -> Any:
    """Reads ``--resize``."""
    if text in ("config", "none"):
        return text
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither config, none nor like 1024x512")
    return int(match[1]), int(match[2])


def main() -> int:
    """Predicts; 1 if images failed."""
    args = parse_args()
    for name in ("batch_size", "workers"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} has to be at least 1.")
    check_typing(args.config, args.cfg_options)

    from mmseg_uda.apis import Predictor, init_segmentor
    from mmseg_uda.apis.folder import predict_files
    from mmseg_uda.apis.image_files import find_images
    from mmseg_uda.apis.prediction_files import HRDA_KINDS, PredictionFolder, weights_digest
    from mmseg_uda.engine.checkpoint import model_in
    from mmseg_uda.engine.config_file import load_network_config
    from mmseg_uda.engine.runner import configure_threads
    from mmseg_uda.engine.testing import set_inference
    from mmseg_uda.engine.tta import augmentations_from
    from mmseg_uda.models.weights import is_published

    configure_threads()
    config, checkpoint = args.config, args.checkpoint
    if is_published(config) or os.path.isdir(config):
        args.inputs.insert(0, checkpoint)
        config, checkpoint = model_in(config)
    if not args.inputs:
        raise UserError(
            "There are no images to segment.",
            fix="Name them, or their folder, behind config and checkpoint.",
        )
    files = find_images(args.inputs, args.out)
    cfg = load_network_config(config, args.cfg_options)
    set_inference(cfg, args.inference_mode, args.sequential_slide)
    part = "ema_model" if args.teacher else "model"
    model = init_segmentor(cfg, checkpoint, args.device, part=part)
    predictor = Predictor(
        model,
        resize=args.resize,
        augmentations=(augmentations := augmentations_from(args)),
        amp=args.amp,
        hrda_outputs=args.hrda_outputs,
    )
    kinds = [*args.write, *(HRDA_KINDS if args.hrda_outputs else ())]
    folder = PredictionFolder(args.out, model, kinds, args.opacity, args.ids)
    settings = {
        "weights": weights_digest(model),
        "model": cfg.model.to_dict(),
        "resize": args.resize,
        "tta": None if augmentations is None else [augmentations.scales, augmentations.flip],
        "amp": args.amp,
        "ids": args.ids,
        "opacity": args.opacity,
    }
    folder.start(settings, args.overwrite)
    todo = [f for f in files if args.overwrite or not folder.is_finished(f.name)]
    if len(todo) < len(files):
        print(f"{len(files) - len(todo)} of {len(files)} images are there already.")
    failures = predict_files(predictor, todo, folder, args.batch_size, args.workers)
    for failure in failures:
        print(f"{failure.path} failed: {failure.message}", file=sys.stderr)
    done = number_of(len(todo) - len(failures), "image")
    print(f"{done} segmented, {len(failures)} failed: {Path(args.out)}")
    return int(bool(failures))
