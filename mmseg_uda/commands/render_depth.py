"""Render depth files with Depth Anything V2.

    python tools/render_depth.py --config configs/cdda/gta2cs_cdda_daformer.py
    python tools/render_depth.py --dataset Cityscapes --split train --checkpoint large
    python tools/render_depth.py --images my/frames --out my/depth_any

Files that exist are left alone, so that the same command goes on after an interruption. Weights:
a folder, 'small' (Apache-2.0), 'base' or 'large' (both for non-commercial use), looked for under
pretrained/ and on the Hugging Face hub.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.data_root import add_data_root_option, use_data_root
from mmseg_uda.errors import UserError
from mmseg_uda.inspection.folder import check_folder
from mmseg_uda.taxonomy import LAYOUTS, DataLocation
from mmseg_uda.taxonomy.folders import Leftovers


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(
        description="Render depth files with Depth Anything V2.",
        epilog="The small model is under Apache-2.0, base and large for non-commercial use only.",
    )
    what = parser.add_argument_group("which images (one of these)")
    what.add_argument("--config", help="what the training of a config reads: source and target")
    what.add_argument("--dataset", choices=sorted(LAYOUTS), help="a data set on its own layout")
    what.add_argument("--images", metavar="DIR", help="any folder of images")
    where = parser.add_argument_group("where")
    where.add_argument("--split", default="train", help="of --dataset")
    where.add_argument("--root", help="root folder of --dataset, in place of data/NAME")
    where.add_argument("--img-suffix", default=".png", help="of --images, e.g. _leftImg8bit.png")
    where.add_argument("--out", metavar="DIR", help="of --images; default: depth_any beside it")
    where.add_argument("--depth-suffix", help="what replaces the image suffix, e.g. _depth.png")
    add_data_root_option(where)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--checkpoint", default="small", help="small, base, large, a folder, or a name"
    )
    how.add_argument("--input-side", type=int, default=518, help="shorter side of the input")
    how.add_argument("--bits", type=int, choices=(8, 16), default=8)
    how.add_argument("--batch-size", type=int, default=4)
    how.add_argument("--workers", type=worker_count, default=4)
    how.add_argument("--device", help="default: cuda if there is one")
    how.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), default="fp32")
    how.add_argument("--overwrite", action="store_true", help="render files that exist, too")
    return parser.parse_args()


def locations(args: argparse.Namespace) -> Iterator[DataLocation]:
    """The images that the command line names."""
    if sum(value is not None for value in (args.config, args.dataset, args.images)) != 1:
        raise UserError(
            "Exactly one of --config, --dataset and --images says what to render.",
            fix="Give one of them, for example --config configs/cdda/gta2cs_cdda_daformer.py.",
        )
    if args.config is not None:
        from mmseg_uda.experiments.configs import plain_config

        data = plain_config(args.config)["train_dataloader"]["dataset"]
        for role in ("source", "target"):
            if data.get(role):
                yield DataLocation.create(**{**data[role], "images_only": True})
    elif args.dataset is not None:
        yield DataLocation.create(
            args.dataset,
            data_root=args.root,
            split=args.split,
            images_only=True,
            depth_suffix=args.depth_suffix,
        )
    else:
        images = Path(args.images).resolve()
        out = Path(args.out).resolve() if args.out else images.parent / "depth_any"
        yield DataLocation.create(
            data_root=str(images),
            img_dir="",
            img_suffix=args.img_suffix,
            images_only=True,
            depth_dir=os.path.relpath(out, images),
            depth_suffix=args.depth_suffix,
        )


def main() -> None:
    """Renders."""
    args = parse_args()
    use_data_root(args.data_root)
    places = list(locations(args))
    for place in places:  # before the weights are loaded
        left = Leftovers()
        stems = {os.path.splitext(name)[0]: name for name in place.images(left)}
        for finding in check_folder(str(place.image_folder), stems, left, place.img_suffix):
            print(f"Warning: {finding}", file=sys.stderr)

    import torch

    from mmseg_uda.foundation.depth_anything import DepthAnything
    from mmseg_uda.foundation.depth_files import render_depth

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = DepthAnything(args.checkpoint, args.input_side, args.dtype)
    failed = []
    for place in places:
        try:
            written = render_depth(
                place, model, args.batch_size, args.workers, device, args.bits, args.overwrite
            )
        except UserError as error:
            if len(places) == 1:
                raise
            failed.append(error)  # of one place; the other is rendered all the same
            continue
        print(f"{place.title}: {written} depth files written to {place.depth_folder}")
    if failed:
        raise UserError("\n".join(error.message for error in failed), fix=failed[0].fix)
