"""What the command-line tools share: readable errors and the options of every config tool."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from mmseg_uda.errors import DISK_FULL, UserError, no_space

DATA_ROOT_VARIABLE = "MMSEG_UDA_DATA_ROOT"


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool's ``main``; a user error or a full disk becomes one message, exit status 2."""
    try:
        status = main()
    except UserError as error:
        status = report_error(error)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        status = report_error(no_space(error.filename or "a file"))
    except KeyboardInterrupt:
        status = 130
    sys.exit(status or 0)


def report_error(error: UserError) -> int:
    """Print an error's message and return its exit status."""
    from rich.console import Console

    if os.environ.get("RANK", "0") != "0":
        # Where all processes fail alike, torchrun ends this one when the first has said it.
        time.sleep(10)
    console = Console(stderr=True)
    text = f"Error: {error}"
    console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    return 2


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, ``--work-dir``, ``--data-root`` and ``--launcher``."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="change values of the config, e.g. uda.masking.mask_ratio=0.5 uda.relabel=None",
    )
    parser.add_argument("--work-dir", help="folder for everything that the run writes")
    parser.add_argument(
        "--data-root", help=f"folder that holds the data sets (also: ${DATA_ROOT_VARIABLE})"
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started this process beside others: torchrun, srun or mpirun (default: none)",
    )
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def add_tta_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--tta``, ``--tta-scales`` and ``--tta-no-flip``."""
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average class probabilities over views: scales 0.5 to 1.75 and mirror images",
    )
    parser.add_argument(
        "--tta-scales",
        type=float,
        nargs="+",
        metavar="FACTOR",
        help="--tta with these scales, for example 0.75 1 1.25",
    )
    parser.add_argument("--tta-no-flip", action="store_true", help="--tta without mirror images")


def apply_environment(args: argparse.Namespace) -> None:
    """Hand ``--data-root`` and the local rank to the process' environment."""
    if args.data_root:
        os.environ[DATA_ROOT_VARIABLE] = args.data_root
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
