"""DynAlign's published command, with its options; tools/dynalign.py has more.

python dynalign_mapillary.py --config CONFIG --checkpoint CHECKPOINT --dataset Mapillary \\
    --data_dir data/mapillary/validation --sam_path pretrained/sam_vit_h_4b8939.pth \\
    --out_dir OUT --prob_threshold 0.6 --save_img

It takes the preset 'released' and Mapillary's classes whatever --dataset says, and writes images/,
labels/ (also as label/) and json/ (visualization/ with --save_img) into --out_dir.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmseg_uda.calling import as_called
from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.errors import UserError

# Data set -> folders of images and of labels below --data_dir; {split} is val, train or test.
DATASETS = {
    "Mapillary": ("images", "labels"),
    "IDD": ("leftImg8bit/{split}", "gtFine/{split}"),
    "Cityscapes": ("leftImg8bit/{split}", "gtFine/{split}"),
    "BDD100K": ("images/10k/{split}", "labels/sem_seg/masks/{split}"),
}
FROM_CONFIG = "Config"
POINTS = {"cityscapes": 64, "mapillary_openset": 64, "foggy_driving": 128}
TAXONOMY = "mapillary_v5"
DEFAULT_SAM = "ckp/sam_vit_h_4b8939.pth"
# Launchers other than torchrun -> their names of its variables.
LAUNCHERS = {
    "slurm": {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID"},
    "mpi": {
        "RANK": "OMPI_COMM_WORLD_RANK",
        "WORLD_SIZE": "OMPI_COMM_WORLD_SIZE",
        "LOCAL_RANK": "OMPI_COMM_WORLD_LOCAL_RANK",
    },
}

LABELS_ALWAYS = "label maps are always written to --out_dir"
# Options without effect, as in the published code -> what does what they seem to ask for.
DEAD = {
    "--eval": "--eval_sam with --gt_path DIR evaluates",
    "--out": LABELS_ALWAYS,
    "--format-only": LABELS_ALWAYS,
    "--show": "--save_img writes pictures",
    "--show-dir": "--save_img writes pictures to --out_dir/visualization",
    "--opacity": "--save_img writes pictures side by side",
    "--eval-options": "--eval_sam with --gt_path DIR evaluates",
    "--gpu-collect": "nothing is collected; every process writes its images' files",
    "--tmpdir": "nothing is collected; every process writes its images' files",
    "--save_original_seg": "--save_img's pictures show the source prediction",
    "--save_gt": "labels are not copied",
    "--gta": "--taxonomy of tools/dynalign.py chooses the classes",
    "--light_mode": "--proposer sam checkpoint=vit_b of tools/dynalign.py is lighter",
    "--seg_only": "--threshold 1.0 of tools/dynalign.py keeps the default of every source class",
}
DEAD_FLAGS = {"--format-only", "--show", "--gpu-collect", "--save_original_seg", "--save_gt",
              "--gta", "--light_mode", "--seg_only"}  # fmt: skip


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; options without effect are answered on stderr.

    Raises:
        UserError: There is no such option.
    """
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--config",
        required=True,
        help="config of the segmenter, also the JSON beside HRDA's checkpoint",
    )
    add("--checkpoint", required=True, help="its checkpoint, also HRDA's own")
    add("--dataset", default=FROM_CONFIG, choices=[FROM_CONFIG, *DATASETS])
    add("--data_dir", help="root of the data set (not with --dataset Config)")
    add("--model", default="model", choices=["model", "ema_model"], help="student or teacher")
    add("--inference-mode", default="same", choices=["same", "whole", "slide"])
    add("--hrda-out", default="", choices=["", "LR", "HR", "ATT"])
    add("--aug-test", action="store_true", help="average over scales 0.5 to 1.75 and mirror images")
    add("--train-set", "--train_set", action="store_true", help="train split instead of val")
    add("--test-set", action="store_true", help="test split instead of val")
    add(
        "--options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change config values",
    )
    add("--launcher", default="none", choices=["none", "pytorch", "slurm", "mpi"],
        help="the variables of torchrun, Slurm or MPI share the images")  # fmt: skip
    add("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    add("--sam_path", default=DEFAULT_SAM, help=f"SAM's published weights ({DEFAULT_SAM})")
    add("--dataset_sam", default="cityscapes", choices=[*POINTS, "mapillary_closeset"],
        help="foggy_driving: a denser grid of points; no other effect")  # fmt: skip
    add("--out_dir", required=True, help="folder of all results")
    add("--save_img", action="store_true", help="write visualization/")
    add("--prob_threshold", type=float, default=0.0, help="a candidate must exceed it (0.0)")
    add(
        "--world_size",
        type=worker_count,
        default=0,
        help="processes on this machine that share the images",
    )
    add("--data_idx", type=int, default=1, help="which part of --data_fold, from 1")
    add("--data_fold", type=int, default=1, help="contiguous parts of the images")
    add("--eval_sam", action="store_true", help="evaluate")
    add("--gt_path", help="folder of target labels for --eval_sam")
    add("--settings", help="see tools/dynalign.py; not in the published command")
    for name in DEAD:
        more: dict[str, Any] = {"action": "store_true"} if name in DEAD_FLAGS else {"nargs": "*"}
        add(name, help=argparse.SUPPRESS, default=None, **more)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [name for action in parser._actions for name in action.option_strings]
        close = difflib.get_close_matches(unknown[0].partition("=")[0], known, 1)
        raise UserError(
            f"There is no option {unknown[0]}.",
            fix=(f"Did you mean {close[0]}? " if close else "")
            + "python tools/dynalign.py --help shows further ones.",
        )
    for name, answer in DEAD.items():
        if getattr(args, name.lstrip("-").replace("-", "_")) is not None:
            print(f"{name} has no effect: {answer}.", file=sys.stderr)
    return args


def folders(args: argparse.Namespace) -> tuple[list[Path], Path | None]:
    """The images, and the labels where the layout has a place for them."""
    if args.dataset == FROM_CONFIG:
        return config_images(args), None
    if args.data_dir is None:
        raise UserError(
            f"--dataset {args.dataset} needs the root of the data.", fix="Give --data_dir."
        )
    split = "train" if args.train_set else "test" if args.test_set else "val"
    images, labels = (Path(args.data_dir) / part.format(split=split)
                      for part in DATASETS[args.dataset])  # fmt: skip
    return [images], labels


def config_images(args: argparse.Namespace) -> list[Path]:
    """The images of the config's data set."""
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS as REGISTRY

    import mmseg_uda.register_all  # noqa: F401
    from mmseg_uda.engine.config_file import load_network_config

    cfg = load_network_config(args.config, args.options)
    loader = cfg.get("train_dataloader" if args.train_set else "test_dataloader") or {}
    dataset = loader.get("dataset")
    if args.train_set and dataset is None:  # a released config, of which evaluation is left
        tested = (cfg.get("test_dataloader") or {}).get("dataset") or {}
        dataset = {**tested, "split": "train"} if "split" in tested else None
    if dataset is None or args.test_set:
        raise UserError(
            f"{args.config} names no images to align.", fix="Give --dataset and --data_dir."
        )
    init_default_scope(cfg.get("default_scope", "mmseg"))
    dataset = dataset.get("target", dataset) if "target" in dataset else dataset
    built = REGISTRY.build({**dataset, "pipeline": []})
    return [Path(built.get_data_info(i)["img_path"]) for i in range(len(built))]


def in_processes(count: int) -> int:
    """Runs this command in several processes, each with a share of the images."""
    processes = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={**os.environ, "RANK": str(i), "LOCAL_RANK": str(i), "WORLD_SIZE": str(count)},
        )
        for i in range(count)
    ]
    statuses = [process.wait() for process in processes]
    # One that was killed has a negative status.
    return max(1 if status < 0 else status for status in statuses)


def main() -> int:
    """Aligns; 1 if images failed."""
    args = parse_args()
    if args.dataset_sam == "mapillary_closeset":
        raise UserError(
            "--dataset_sam mapillary_closeset was never implemented.",
            fix="python tools/dynalign.py --taxonomy FILE takes any classes.",
        )
    shared = args.world_size > 1 or int(launched(args.launcher).get("WORLD_SIZE", 1)) > 1
    if args.eval_sam and (shared or args.data_fold > 1):
        raise UserError(
            "--eval_sam scores all images, and each process has a part of them.",
            fix="Leave it out; afterwards the same command with it and without --world_size and "
            "--data_fold scores what is there.",
        )
    if args.world_size > 1 and "WORLD_SIZE" not in os.environ:
        return in_processes(args.world_size)
    if args.dataset == "IDD":
        own = as_called("python tools/dynalign.py --taxonomy idd_v5")
        print(f"The classes are {TAXONOMY}'s, as published; IDD's own: {own}.", file=sys.stderr)
    return align(args)


def launched(launcher: str) -> dict[str, str]:
    """The environment, with torchrun's variables set from those of another launcher."""
    names = LAUNCHERS.get(launcher, {})
    values = {ours: os.environ[name] for ours, name in names.items() if name in os.environ}
    return {**os.environ, **values}


def align(args: argparse.Namespace) -> int:
    """Translates the options and runs."""
    from dataclasses import replace

    from mmseg_uda.apis.alignment import (
        AlignmentJob,
        AlignmentSettings,
        align_folder,
        source_of_checkpoint,
    )
    from mmseg_uda.apis.alignment.command import device_of, report
    from mmseg_uda.engine.runner import configure_threads
    from mmseg_uda.engine.tta import Augmentations
    from mmseg_uda.methods.dynalign import fold, place, shard

    configure_threads()
    rank, world, local_rank = place(environment=launched(args.launcher))
    parts = args.data_fold
    images, labels = folders(args)
    settings = AlignmentSettings(
        taxonomy=TAXONOMY,
        proposer=dict(
            type="SegmentAnythingProposer",
            checkpoint=args.sam_path,
            points_per_side=POINTS[args.dataset_sam],
        ),
    )
    if args.settings:
        settings = AlignmentSettings.read(args.settings)
    settings = replace(
        settings,
        preset="released",
        options={**settings.options, "threshold": args.prob_threshold},
        device=settings.device or device_of(local_rank, world),
    )
    source = source_of_checkpoint(
        args.config,
        args.checkpoint,
        device=settings.device,
        part=args.model,
        inference_mode=args.inference_mode,
        hrda_output=args.hrda_out if args.hrda_out in ("LR", "HR") else None,
        augmentations=Augmentations() if args.aug_test else None,
        cfg_options=args.options,
    )
    job = AlignmentJob(
        inputs=images,
        out=args.out_dir,
        kinds=("labels", "json", "images"),
        image_files="png",
        pictures=args.save_img,
        labels=(args.gt_path or labels) if args.eval_sam else None,
        # Files of a part have its number, so that parts can run side by side.
        share=((args.data_idx - 1) * world + rank, parts * world),
        choose=lambda found: shard(fold(found, args.data_idx, parts), rank, world),
    )
    status = report(align_folder(job, source, settings), Path(args.out_dir))
    name = Path(args.out_dir, "label")  # as the published README calls the folder
    if not os.path.lexists(name):
        with suppress(OSError):  # on a disk without links
            name.symlink_to("labels", target_is_directory=True)
    return status
