"""Bring a segmenter's predictions into another taxonomy (DynAlign): regions, texts, decision.

    python tools/dynalign.py IMAGES_OR_FOLDERS... --out DIR --config CONFIG --checkpoint CHECKPOINT
    python tools/dynalign.py IMAGES_OR_FOLDERS... --out DIR --source FOLDER_OF_LABEL_PNGS

SAM finds regions (stage propose), the segmenter names them in its own taxonomy (predict), CLIP
looks at each region and its surroundings (score), and every region becomes the best candidate of
its source class, or that class's default (relabel). Written are labels/NAME.png,
confidence/NAME.png and what --write, --visualize and --inspect ask for; summary.json tells how it
went, failures.jsonl which images failed (exit status 1).

The same command continues after an interruption. Another threshold, fusion or text needs no new
pass of the image encoder: only what depends on a changed option is done again.
"""

from __future__ import annotations

import argparse
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

STAGES = ("propose", "predict", "score", "relabel", "visualize", "evaluate")
KINDS = ("labels", "confidence", "json", "images")


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="image", help="images, and folders of images")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of all results")
    _add_source(parser.add_argument_group("source prediction (one of the two)"))
    _add_alignment(parser.add_argument_group("alignment"))
    _add_results(parser.add_argument_group("results"))
    _add_work(parser.add_argument_group("work"))
    return parser.parse_args()


def _add_source(group: Any) -> None:
    group.add_argument("--config", help="config of a segmenter in the source taxonomy")
    group.add_argument("--checkpoint", help="its checkpoint: ours, mmseg's or a reference code's")
    group.add_argument("--source", metavar="DIR", help="label PNGs of source ids, named as images")
    group.add_argument("--teacher", action="store_true", help="use the teacher's weights")
    add_inference_options(group)
    group.add_argument("--hrda-out", choices=["LR", "HR"], help="labels of one of HRDA's scales")
    add_tta_options(group)
    group.add_argument("--amp", choices=["bf16", "fp16"], help="mixed precision of the segmenter")
    add_config_flag(group)


def _add_alignment(group: Any) -> None:
    group.add_argument(
        "--settings", metavar="FILE", help="config with alignment=dict(...); options below win"
    )
    group.add_argument(
        "--taxonomy", metavar="MAP", help="name or YAML file of a taxonomy map (mapillary_v5)"
    )
    group.add_argument(
        "--preset", choices=["recommended", "released"], help="options to start from (recommended)"
    )
    group.add_argument(
        "--proposer",
        nargs="+",
        metavar=("TYPE", "KEY=VALUE"),
        help="sam (default), SegmentAnythingProposer, grid, components, slic, felzenszwalb, "
        "precomputed; for example: grid cell=64",
    )
    group.add_argument(
        "--scorer",
        nargs="+",
        metavar=("TYPE", "KEY=VALUE"),
        help="open_clip (default: ConvNeXt-L-D at 224 pixels) or clip; for example: "
        "clip checkpoint=openai/clip-vit-large-patch14 dtype=bf16 chunk=64",
    )
    group.add_argument("--threshold", type=float, help="a candidate must exceed it (0.6)")
    group.add_argument(
        "--working-size",
        metavar="SIZE",
        help="stretch:1440x1920 (height x width), keep_ratio:1920 (longer side) or original",
    )
    group.add_argument(
        "--fusion",
        choices=["dynamic", "mean", "none", "context"],
        help="how a region and its surroundings are blended (dynamic); none: the region alone",
    )
    group.add_argument("--vote", choices=["hard", "soft"], help="count labels (hard) or softmax")
    group.add_argument(
        "--options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="any other option of mmseg_uda.methods.dynalign.Options, for example shared=False "
        "contexts=name context_offsets=0,200 renormalize=True",
    )


def _add_results(group: Any) -> None:
    group.add_argument(
        "--write",
        nargs="+",
        choices=KINDS,
        default=["labels", "confidence"],
        help="labels (always) and confidence by default; json: regions and label map for exchange",
    )
    group.add_argument(
        "--image-files",
        choices=["link", "copy", "png"],
        default="link",
        help="with --write images: link or copy the file, or copy it as .png",
    )
    group.add_argument("--visualize", action="store_true", help="also visualization/NAME.png")
    group.add_argument(
        "--inspect", action="store_true", help="also inspection/NAME.html on every region"
    )
    group.add_argument("--labels", metavar="DIR", help="evaluate against these target labels")
    group.add_argument(
        "--label-ids", metavar="NAME", help="ids in these files, where not the target's own"
    )
    group.add_argument(
        "--eval-ids",
        nargs="+",
        metavar="CLASS",
        help="evaluated classes or subsets of the taxonomy (default: the map's)",
    )


def _add_work(group: Any) -> None:
    group.add_argument(
        "--stages", nargs="+", choices=STAGES, help="only these (default: what is asked for)"
    )
    group.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    group.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU if there is one)")
    group.add_argument(
        "--rank", type=int, help="this process's share, from 0 (also: torchrun's variables)"
    )
    group.add_argument("--world-size", type=int, metavar="N", help="number of shares")
    group.add_argument(
        "--workers",
        "--num-workers",
        type=worker_count,
        default=2,
        help="threads that read ahead (2)",
    )
    group.add_argument("--overwrite", action="store_true", help="do everything anew")
    group.add_argument("--strict", action="store_true", help="stop at results of other settings")


def adapter(words: list[str] | None, flag: str) -> dict[str, Any] | None:
    """``TYPE KEY=VALUE ...`` as a config."""
    from mmseg_uda.cfg_options import parse_options

    if words is None:
        return None
    return {"type": words[0], **parse_options(words[1:], flag, "cell=64")}


def main() -> int:
    """Aligns; 1 if images failed."""
    args = parse_args()
    for name in ("workers", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} has to be at least 1.")
    if (args.source is None) == (args.config is None and args.checkpoint is None):
        raise UserError(
            "A source prediction is needed, from one place.",
            fix="Give --config and --checkpoint, or --source.",
        )
    if args.source is None and (args.config is None or args.checkpoint is None):
        raise UserError("--config and --checkpoint belong together.", fix="Give both, or --source.")
    if args.source is None:
        check_typing(args.config, args.cfg_options)

    from dataclasses import replace

    from mmseg_uda.apis.alignment import AlignmentSettings, source_of_checkpoint
    from mmseg_uda.apis.alignment.command import device_of, report
    from mmseg_uda.apis.alignment.folder import AlignmentJob, align_folder
    from mmseg_uda.cfg_options import parse_options
    from mmseg_uda.engine.runner import configure_threads
    from mmseg_uda.engine.tta import augmentations_from
    from mmseg_uda.methods.dynalign import LabelFolder, place

    configure_threads()
    rank, world, local_rank = place(args.rank, args.world_size)
    settings = AlignmentSettings.read(args.settings) if args.settings else AlignmentSettings()
    options = {
        **settings.options,
        **parse_options(args.options, "--options", "shared=False"),
        **{
            name: getattr(args, name)
            for name in ("threshold", "working_size", "fusion", "vote")
            if getattr(args, name) is not None
        },
    }
    given = dict(
        taxonomy=args.taxonomy,
        preset=args.preset,
        proposer=adapter(args.proposer, "--proposer"),
        scorer=adapter(args.scorer, "--scorer"),
        device=args.device or device_of(local_rank, world),
    )
    settings = replace(
        settings, options=options, **{k: v for k, v in given.items() if v is not None}
    )
    if args.source is not None:
        source: Any = LabelFolder(args.source)
    else:
        source = source_of_checkpoint(
            args.config,
            args.checkpoint,
            device=settings.device,
            part="ema_model" if args.teacher else "model",
            inference_mode=args.inference_mode,
            sequential=args.sequential_slide,
            hrda_output=args.hrda_out,
            augmentations=augmentations_from(args),
            amp=args.amp,
            cfg_options=args.cfg_options,
        )
    job = AlignmentJob(
        inputs=args.inputs,
        out=args.out,
        stages=args.stages,
        kinds=args.write,
        image_files=args.image_files,
        pictures=args.visualize,
        pages=args.inspect,
        labels=args.labels,
        label_ids=args.label_ids,
        eval_ids=args.eval_ids,
        limit=args.limit,
        share=(rank, world),
        workers=args.workers,
        overwrite=args.overwrite,
        strict=args.strict,
    )
    return report(align_folder(job, source, settings), Path(args.out))
