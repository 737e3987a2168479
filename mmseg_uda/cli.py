"""What the command-line tools share: readable errors and the options of every config tool."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import logging
import multiprocessing
import os
import re
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmseg_uda.calling import as_called, program
from mmseg_uda.cfg_options import add_config_flag, config_mistake, parse_options
from mmseg_uda.config_files import find_config
from mmseg_uda.data_root import add_data_root_option, use_data_root
from mmseg_uda.errors import Interrupted, UserError
from mmseg_uda.hub_repositories import hub_address
from mmseg_uda.peers import has_ended, silent_process
from mmseg_uda.places import settle_home
from mmseg_uda.system_errors import explain

# Folder where the processes of a run note which messages have been printed.
SAID_VARIABLE = "MMSEG_UDA_SAID"
SAVED = "saved"
# Of a run's name; files in its folder have longer ones, and 255 bytes are the limit of most disks.
LONGEST_NAME = 200
LONGEST_LINE = 2000  # of a message

_told: set[str] = set()


def run_tool(main: Callable[[], int | None]) -> None:
    """Runs a tool's ``main``; what it cannot help becomes one message, exit status 2.

    That is a user's mistake, and what the machine refuses: files, disks, memory.
    """
    logging.Handler.handleError = _tell_once  # type: ignore
    status: int | None
    try:
        settle_home()
        status = main()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        if not nobody_reads():
            raise
        status = 1
    except Interrupted as stop:
        if SAID_VARIABLE in os.environ:
            (Path(os.environ[SAID_VARIABLE]) / SAVED).touch()
        status = int(stop.code or 0)
    except SystemExit:  # argparse's
        nobody_reads()
        raise
    except Exception as error:
        known = readable(error)
        if known is not None:
            error.__traceback__ = None  # its frames hold what fills the memory
            status = report_error(known)
        elif has_ended(error):
            if not _others_have_said():
                text = "Another process of this run has ended; its message says why."
                print(text, file=sys.stderr)
            status = 1
        else:
            raise
    nobody_reads()
    _end_workers(status or 0)
    sys.exit(status or 0)


def nobody_reads() -> bool:
    """Whether who read the output has gone (``| head``); the rest of it then goes nowhere."""
    try:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        output = select.poll()
        output.register(sys.stdout, 0)
        gone = any(event & select.POLLERR for _, event in output.poll(0))
    except (OSError, ValueError, AttributeError):  # it is no file, closed, or not there
        return False
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


# Options of mmsegmentation's commands -> what takes their place, and the option that it needs here.
OPEN_MMLAB_OPTIONS = {
    "--eval": ("--targets", "Leave it out: mIoU is always computed."),
    "--aug-test": ("--tta", "Use --tta."),
    "--show": ("--targets", "python tools/infer.py draws predictions."),
    "--show-dir": ("--targets", "python tools/infer.py draws predictions."),
    "--resume-from": (
        "--resume",
        "--resume goes on from the newest checkpoint of the work directory; --cfg-options "
        "load_from=FILE begins with the weights of a file.",
    ),
    "--load-from": ("--cfg-options", "Use --cfg-options load_from=FILE."),
    "--no-validate": (
        "--resume",
        "Use --cfg-options val_dataloader=None val_evaluator=None val_cfg=None.",
    ),
    "--gpu-id": ("--cfg-options", "Set the variable CUDA_VISIBLE_DEVICES."),
    "--gpu-ids": ("--cfg-options", "Set the variable CUDA_VISIBLE_DEVICES."),
    "--gpus": ("--resume", "python tools/dist_run.py trains on several."),
    "--options": ("--cfg-options", "Use --cfg-options."),
}


class Parser(argparse.ArgumentParser):
    """Options of a command: help in the form that was called, and suggestions for unknown ones."""

    def __init__(self, prog: str | None = None, **settings: Any) -> None:
        super().__init__(prog=prog or program(), **settings)

    def format_help(self) -> str:
        """Returns argparse's own text, with commands as the reader can call them."""
        return as_called(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Ends the process as argparse's own, with what helps in place of all options."""
        unknown = message.partition("unrecognized arguments: ")[2]
        names = re.findall(r"(?:^| )(--?[A-Za-z][\w-]*)", unknown)
        known = {option.lstrip("-"): option for option in self._option_string_actions}
        near = [
            option
            for name in names
            for option in difflib.get_close_matches(name.lstrip("-"), known, n=1)
        ]
        fixes = [self._instead_of(name) for name in names]
        fix = " ".join(dict.fromkeys(one for one in fixes if one))
        if near and not fix:
            fix = f"Did you mean {', '.join(known[name] for name in near)}?"
        elif unknown.endswith(".pth") and "--resume" in self._option_string_actions and not fix:
            fix = as_called(OPEN_MMLAB_OPTIONS["--resume-from"][1])
        fix = fix or f"{self.prog} --help shows what it takes."
        self.exit(2, f"{self.prog}: error: {message}\n  Fix: {fix}\n")

    def _instead_of(self, name: str) -> str:
        """What to do in place of an option of mmsegmentation; empty for others."""
        needed, text = OPEN_MMLAB_OPTIONS.get(name, ("", ""))
        return as_called(text) if needed in self._option_string_actions else ""


def _tell_once(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Tells that a log cannot be written, where Python prints a traceback for every line."""
    error = sys.exc_info()[1]
    known = explain(error) if error is not None else None
    text = f"WARNING: log lines are lost. {known or error}"
    if text not in _told:
        _told.add(text)
        print(text, file=sys.stderr)


def readable(error: Exception) -> UserError | None:
    """Returns what the user has to know about an error; None for a fault of the program."""
    if isinstance(error, UserError):
        return error
    # The system first: a constructor that finds no memory or disk has no wrong options.
    return explain(error) or config_mistake(error) or silent_process(error)


def report_error(error: UserError) -> int:
    """Prints an error's message and returns its exit status.

    Of several processes that fail alike, and share the folder of ``MMSEG_UDA_SAID``, one prints,
    and leaves the status there.
    """
    # What a stranger's file holds may stand in it.
    text = "\n".join(line[:LONGEST_LINE] for line in f"Error: {error}".splitlines())
    if SAID_VARIABLE in os.environ:
        name = hashlib.sha1(text.encode()).hexdigest()
        try:
            with (Path(os.environ[SAID_VARIABLE]) / name).open("x") as file:
                file.write(str(error.status))
        except FileExistsError:
            return error.status
    try:
        from rich.console import Console

        console = Console(stderr=True)
        console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    except MemoryError:
        print(text, file=sys.stderr)
    return error.status


def _others_have_said() -> bool:
    """Whether another process of the run has printed a message, or does so in a moment."""
    if SAID_VARIABLE not in os.environ:
        return False
    folder = Path(os.environ[SAID_VARIABLE])
    for _ in range(10):
        if any(folder.iterdir()):
            return True
        time.sleep(0.1)
    return False


def _end_workers(status: int) -> None:
    """Ends worker processes that are left; Python itself would wait for those that hang."""
    workers = [process for process in multiprocessing.active_children() if process.daemon]
    for end in (multiprocessing.Process.terminate, multiprocessing.Process.kill):
        for worker in workers:
            end(worker)
        until = time.monotonic() + 2
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))
        workers = [worker for worker in workers if worker.is_alive()]
    if workers:  # even a kill waits for a disk or network drive that does not answer
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def most_workers() -> int:
    """Processes or threads beyond which a machine only stalls: 16 per core, and 64 anywhere."""
    return max(64, 16 * (os.cpu_count() or 1))


def worker_count(text: str) -> int:
    """A number of processes or threads, as argparse reads it.

    Raises:
        argparse.ArgumentTypeError: It is no number, or one that no machine like this can use.
    """
    number = int(text) if re.fullmatch(r"-?\d{1,9}", text) else most_workers() + 1
    if number > most_workers():
        raise argparse.ArgumentTypeError(
            f"{text[:20]!r} is no number of processes up to {most_workers()} (16 per core)"
        )
    return number


def positive(text: str) -> int:
    """A whole number of at least 1, as argparse reads it.

    Raises:
        argparse.ArgumentTypeError: It is something else.
    """
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no whole number of at least 1")
    return int(text)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options``, ``--work-dir``, ``--data-root`` and ``--launcher``."""
    add_config_flag(
        parser,
        "change values of the config, e.g. uda.masking.mask_ratio=0.5 uda.relabel=None "
        "'uda.masking={mask_ratio: 0.5}'",
    )
    parser.add_argument("--work-dir", help="folder for everything that the run writes")
    add_data_root_option(parser)
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started this process beside others: torchrun, srun or mpirun (default: none)",
    )
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def run_name(config: str | Path) -> str:
    """The folder of a config's runs below ``work_dirs/``: the file's name without its ending.

    Raises:
        UserError: That is no name of a folder of its own (``..py``), or not a usable one.
    """
    name = re.sub(r"\.(py|json|ya?ml)$", "", Path(config).name)
    if name.strip(".") == "" or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise UserError(
            f"The config {str(config)[:200]!r} has a name from which none can be made for the "
            "folder of its runs.",
            fix=f"Rename it: printable characters, {LONGEST_NAME} bytes at most, and not dots "
            "alone.",
        )
    return name


def add_inference_options(parser: argparse._ActionsContainer) -> None:
    """Adds ``--inference-mode`` and ``--sequential-slide``."""
    parser.add_argument(
        "--inference-mode",
        choices=["same", "whole", "slide"],
        default="same",
        help="whole image, sliding window (training crop, half overlap), or as in the config",
    )
    parser.add_argument(
        "--sequential-slide",
        action="store_true",
        help="one window at a time instead of batched windows (less memory, same result)",
    )


def add_tta_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--tta``, ``--tta-scales`` and ``--tta-no-flip``."""
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


def check_typing(config: str, options: Sequence[str] = ()) -> None:
    """Looks for what is wrong in a command line before torch is loaded, which takes seconds.

    Args:
        config: Name of a config, a folder (of a training, or a published model), or an address of
            the hub.
        options: ``--cfg-options``.

    Raises:
        UserError: There is no such config, or an option is no key=value.
    """
    if hub_address(config) is None and not os.path.isdir(config):
        find_config(config)
    parse_options(options)


def apply_environment(args: argparse.Namespace) -> None:
    """Hands ``--data-root`` and the local rank to the process' environment.

    Raises:
        UserError: The command line is wrong; see :func:`check_typing`.
    """
    check_typing(args.config, args.cfg_options)
    use_data_root(args.data_root)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
