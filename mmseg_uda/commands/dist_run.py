"""torchrun with the training's exit status and without tracebacks of its own.

Takes torchrun's options: python tools/dist_run.py --standalone --nproc_per_node 2 train CONFIG
--launcher pytorch. What it runs is a script, or a command that mmseg-uda --help lists. Where
torchrun ends with 1 whatever happened, this ends with the status of the process that failed first:
2 after a user error, 75 (run it again) after a stop signal, if the state was saved.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

from mmseg_uda.calling import COMMANDS, ROOT
from mmseg_uda.cli import SAID_VARIABLE, SAVED, Parser, most_workers
from mmseg_uda.errors import REQUEUE_STATUS, UserError
from mmseg_uda.signals import heeded

SIGNALS = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
)


def main() -> int:
    """Runs; the processes get stop signals, SIGUSR1 and SIGUSR2 too, and 30 seconds to save.

    Raises:
        UserError: The number of processes is none.
    """
    parser = Parser(
        parents=[get_args_parser()],
        add_help=False,  # the parent has it
        usage="%(prog)s --nproc_per_node N [options] SCRIPT [its options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if "signals_to_handle" in vars(parser.parse_args(["script"])):
        parser.set_defaults(signals_to_handle=",".join(s.name for s in heeded(SIGNALS)))
    args = parser.parse_args()
    if args.training_script in COMMANDS:
        args.training_script = str(ROOT / COMMANDS[args.training_script][0])
    if str(args.nproc_per_node).isdigit():
        processes = int(args.nproc_per_node[:9])
        if not 1 <= processes <= most_workers():
            wrong = f"--nproc_per_node {args.nproc_per_node[:20]} is no number of processes."
            raise UserError(wrong, fix=f"Give 1 to {most_workers()}: one per GPU.")
        share = (os.cpu_count() or 1) // processes
        os.environ.setdefault("OMP_NUM_THREADS", str(max(share, 1)))
    # torchrun would print how each process ended; the processes have said why.
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as said:
        os.environ[SAID_VARIABLE] = said
        try:
            return run_processes(args, Path(said))
        finally:
            del os.environ[SAID_VARIABLE]


def run_processes(args: argparse.Namespace, said: Path) -> int:
    """Runs; ``said`` is where the processes note what they told. Returns the exit status."""
    try:
        run(args)
    except ChildFailedError as error:
        # The first to end may be one that lost contact to the one with the error.
        if told(said):
            return told(said)
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            print(f"Process {rank} was ended by {name}.", file=sys.stderr)
            return 128 - failure.exitcode
        return failure.exitcode
    except SignalException as error:
        return told(said) or (REQUEUE_STATUS if (said / SAVED).exists() else 128 + error.sigval)
    return 0


def told(said: Path) -> int:
    """The exit status of a process that has told why it ends, 0 if none has."""
    return next((int(f.read_text() or 2) for f in said.iterdir() if f.name != SAVED), 0)
