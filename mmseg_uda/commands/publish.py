"""Write a student alone: python tools/publish.py CHECKPOINT [OUT], a file or a training's folder.

A folder named after the training is made in OUT, with weights (safetensors), config, classes,
metrics and a model card; ``init_segmentor`` and tools/infer.py take it, and --push-to-hub sends
it to the Hugging Face hub. OUT ending in .pth, or --pth, writes one file for
``mmseg.apis.init_model``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_uda.cli import Parser
from mmseg_uda.errors import UserError


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Write the student of a checkpoint alone.")
    parser.add_argument(
        "checkpoint",
        help="checkpoint of this project, mmseg or a reference code, or a training's folder; with "
        "--push-to-hub also a folder that was published before",
    )
    parser.add_argument(
        "out",
        nargs="?",
        help="folder in which the model's is made (published); a file NAME.pth: as --pth",
    )
    parser.add_argument(
        "--teacher", action="store_true", help="publish the teacher, or the average of uda.ema"
    )
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    parser.add_argument("--config", help="for checkpoints that carry no config (reference codes)")
    parser.add_argument(
        "--adapters-only",
        action="store_true",
        help="leave the frozen encoder out, which is found by name and fingerprint at loading",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that is there")
    parser.add_argument(
        "--push-to-hub", metavar="REPO", help="send the folder to owner/name on Hugging Face's hub"
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--pth",
        action="store_true",
        help="write one .pth file; digits of its SHA-256 join its name",
    )
    parser.add_argument(
        "--write-config",
        action="store_true",
        help="--pth, and a config of the network alone beside the file",
    )
    return parser.parse_args()


def main() -> None:
    """Publishes."""
    args = parse_args()
    out = args.out or "published"
    one_file = args.pth or args.write_config or out.endswith(".pth")
    folders_only = {
        "--push-to-hub": args.push_to_hub,
        "--adapters-only": args.adapters_only,
        "--overwrite": args.overwrite,
    }
    for option, given in folders_only.items():
        if one_file and given:
            raise UserError(
                f"{option} is about a folder, not about a .pth file.",
                fix="Leave it out; or leave out --pth and --write-config, and give a folder as "
                "OUT.",
            )
    if args.private and not args.push_to_hub:
        raise UserError(
            "--private is about a repository on the hub.", fix="Add --push-to-hub owner/name."
        )
    if args.push_to_hub:
        from mmseg_uda.hub_repositories import require_repository

        require_repository(args.push_to_hub)

    from mmseg_uda.apis import publish, publish_folder

    part = "ema_model" if args.teacher else "model"
    if one_file:
        path = publish(
            args.checkpoint,
            out + "/" * (not out.endswith(".pth")),
            part=part,
            half=args.half,
            config=args.config,
            write_config=args.write_config,
        )
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
        return
    path = Path(args.checkpoint)
    if args.push_to_hub and _is_written(path):
        _require_as_it_is(args)
    else:
        path = publish_folder(
            args.checkpoint,
            out,
            part=part,
            half=args.half,
            config=args.config,
            adapters_only=args.adapters_only,
            overwrite=args.overwrite,
            repository=args.push_to_hub,
        )
        size = sum(file.stat().st_size for file in path.iterdir())
        print(f"{path} ({size / 1e6:.1f} MB)")
    if args.push_to_hub:
        from mmseg_uda.hub_repositories import send_folder
        from mmseg_uda.models.weights.published import ADAPTERS, WEIGHTS

        print(send_folder(path, args.push_to_hub, args.private, (ADAPTERS, WEIGHTS)))


def _require_as_it_is(args: argparse.Namespace) -> None:
    options = {
        "OUT": args.out,
        "--teacher": args.teacher,
        "--half": args.half,
        "--config": args.config,
        "--adapters-only": args.adapters_only,
        "--overwrite": args.overwrite,
    }
    given = [option for option, value in options.items() if value]
    if given:
        raise UserError(
            f"{args.checkpoint} is a published model, which is sent as it is: "
            f"{', '.join(given)} would change nothing.",
            fix="Leave that out, or give the checkpoint from which it was made.",
        )


def _is_written(path: Path) -> bool:
    from mmseg_uda.models.weights import is_published

    return path.is_dir() and is_published(path)
