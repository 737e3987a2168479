"""Write a student alone: python tools/publish.py CHECKPOINT OUT [--teacher] [--half].

``mmseg.apis.init_model`` loads the result with the training's config, or with the one that
``--write-config`` puts beside it.
"""

from __future__ import annotations

import argparse

from mmseg_uda.cli import Parser, run_tool


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description="Write the student of a checkpoint alone.")
    parser.add_argument("checkpoint", help="checkpoint of this project, mmseg or a reference code")
    parser.add_argument("out", help="file or folder; digits of the file's SHA-256 join its name")
    parser.add_argument("--teacher", action="store_true", help="publish the teacher instead")
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    parser.add_argument("--config", help="for checkpoints that carry no config (reference codes)")
    parser.add_argument(
        "--write-config",
        action="store_true",
        help="also write a config of the network alone, beside the file",
    )
    return parser.parse_args()


def main() -> None:
    """Publishes."""
    args = parse_args()

    from mmseg_uda.apis import publish

    path = publish(
        args.checkpoint,
        args.out,
        part="ema_model" if args.teacher else "model",
        half=args.half,
        config=args.config,
        write_config=args.write_config,
    )
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run_tool(main)
