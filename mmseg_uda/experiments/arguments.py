"""The options of ``run_experiments.py``."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

from mmseg_uda.cfg_options import add_config_flag
from mmseg_uda.cli import Parser, most_workers
from mmseg_uda.data_root import add_data_root_option
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.cluster import LOCAL, SLURM, ClusterOptions, parse_minutes
from mmseg_uda.loggers import add_log_option

EXECUTORS = ("local", SLURM, LOCAL)
CLUSTER_DEFAULTS = ClusterOptions()
LARGEST = 2**32 - 1  # numpy's largest seed
MOST_NUMBERS = MOST_JOBS = 1000


def parser() -> argparse.ArgumentParser:
    """Returns the command's argument parser."""
    result = Parser(
        description="Trains the tables of the papers and reports their numbers. Calling it again "
        "continues: finished jobs are skipped, interrupted ones resume.",
    )
    what = result.add_argument_group("what to train (one of these)")
    what.add_argument("--list", action="store_true", help="list the experiments and stop")
    what.add_argument("--exp", type=int, metavar="ID", help="train a paper's table")
    what.add_argument("--config", type=Path, metavar="FILE", help="train one config file")
    which = result.add_argument_group("which of its jobs")
    which.add_argument(
        "--rows", nargs="+", action="extend", metavar="N", help="rows, e.g. 1 3-4 (default: all)"
    )
    which.add_argument(
        "--seeds", nargs="+", action="extend", metavar="S", help="seeds (default: the table's)"
    )
    _add_how(result.add_argument_group("how"))
    _add_where(result.add_argument_group("where"))
    _add_cluster(result.add_argument_group("on a cluster (--executor slurm)"))
    return result


def _add_how(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--profile",
        choices=("paper", "mini"),
        default="paper",
        help="paper: as published; mini: the same jobs on the rendered miniworld",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="show the jobs and write their configs, train nothing",
    )
    group.add_argument("--report", action="store_true", help="only rebuild the report")
    group.add_argument("--startup-test", action="store_true", help="two steps of each row")
    group.add_argument("--debug", action="store_true", help="denser log, earlier validations")
    group.add_argument("--retry-failed", action="store_true", help="run failed jobs again, too")
    group.add_argument(
        "--force", action="store_true", help="put folders of other configs aside and train anew"
    )
    group.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision"
    )
    add_config_flag(group, "changes to each config")
    group.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="newest checkpoints to keep of each job (default: the config's, 2)",
    )
    add_log_option(group)


def _add_where(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--executor",
        default="local",
        metavar="NAME",
        help="local: this machine; slurm: a cluster; submitit-local: slurm's way, without a "
        "cluster, to try it out (default: local)",
    )
    group.add_argument("--gpus", metavar="IDS", help="e.g. 0,2; 'all'; 'cpu' (default: all)")
    group.add_argument(
        "--gpus-per-job",
        type=int,
        default=1,
        metavar="N",
        help="GPUs that share one training; the config's batch size is that of one GPU "
        "(default: 1)",
    )
    group.add_argument(
        "--cpu-jobs",
        type=int,
        metavar="N",
        help="trainings at a time on the CPU (default: one; one per core for small ones)",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of each of them (default: the cores shared out)",
    )
    group.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs"),
        metavar="DIR",
        help="folder of all results (default: work_dirs)",
    )
    add_data_root_option(group)
    group.add_argument(
        "--ignore-disk-space", action="store_true", help="start although the disk looks too small"
    )


def _add_cluster(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--partition", metavar="NAME", help="(default: the cluster's)")
    group.add_argument(
        "--time",
        metavar="TIME",
        help="limit of a job, in minutes or as D-HH:MM:SS; one that reaches it saves its state "
        "and is queued again (default: 1-00:00:00)",
    )
    group.add_argument(
        "--cpus",
        type=int,
        metavar="N",
        help="cores of a job (default: per GPU the loading workers + 1)",
    )
    group.add_argument("--mem", type=float, metavar="GB", help="of a job (default: the cluster's)")
    group.add_argument(
        "--array", type=int, metavar="N", help="jobs that may run at a time (default: no limit)"
    )
    group.add_argument(
        "--slurm-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="further options of sbatch, e.g. account=vision qos=long gres=gpu:a100:1",
    )
    group.add_argument(
        "--slurm-setup",
        nargs="+",
        action="extend",
        default=[],
        metavar="COMMAND",
        help="shell commands before a training, e.g. 'module load cuda'",
    )
    group.add_argument(
        "--cancel-on-interrupt",
        action="store_true",
        help="Ctrl-C cancels the jobs; otherwise they stay, and the same command finds them again",
    )


def cluster_options(arguments: argparse.Namespace, workers: int) -> ClusterOptions:
    """Returns what each job asks the cluster for.

    Args:
        arguments: The parsed command line.
        workers: Data-loading workers of one process.

    Raises:
        UserError: An option is of no use.
    """
    wrong = [text for text in arguments.slurm_options if "=" not in text]
    if wrong:
        raise UserError(
            f"--slurm-options: '{wrong[0]}' is not of the form key=value.",
            fix="Example: --slurm-options account=vision qos=long.",
        )
    pairs = (text.partition("=") for text in arguments.slurm_options)
    time = arguments.time
    return ClusterOptions(
        kind=arguments.executor,
        minutes=CLUSTER_DEFAULTS.minutes if time is None else parse_minutes(time),
        gpus=0 if arguments.gpus == "cpu" else arguments.gpus_per_job,
        cpus=arguments.cpus or arguments.gpus_per_job * (workers + 1),
        memory=arguments.mem,
        partition=arguments.partition,
        parallel=arguments.array,
        setup=tuple(arguments.slurm_setup),
        extra={key: value for key, _, value in pairs},
    )


def parse_numbers(texts: Sequence[str] | None, option: str) -> list[int] | None:
    """Parses '1 3-4' or '1,3-4' to [1, 3, 4]; None stays None.

    Raises:
        UserError: For anything that is no number or range, or more than ``MOST_NUMBERS``.
    """
    if texts is None:
        return None
    numbers: list[int] = []
    for text in " ".join(texts).replace(",", " ").split():
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", text)
        if not match:
            raise UserError(f"{option}: '{shown}' is no number.", fix=f"Example: {option} 1 3-4.")
        if any(len(part or "") > len(str(LARGEST)) for part in match.groups()):
            raise UserError(f"{option}: '{shown}' is too large.", fix=f"Give 0 to {LARGEST}.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"{option}: '{text}' runs backwards.", fix=f"Give {last}-{first}.")
        if last > LARGEST:
            raise UserError(f"{option}: {last} is too large.", fix=f"Give 0 to {LARGEST}.")
        if len(numbers) + last - first >= MOST_NUMBERS:
            raise UserError(
                f"{option}: '{shown}' makes more than {MOST_NUMBERS} numbers.",
                fix=f"Give {MOST_NUMBERS} at most in one call.",
            )
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def check_size(jobs: Sequence[object]) -> None:
    """Refuses more jobs than one call can plan in half a minute.

    Raises:
        UserError: There are more than ``MOST_JOBS``.
    """
    if len(jobs) > MOST_JOBS:
        raise UserError(
            f"--rows and --seeds make {len(jobs)} jobs, more than {MOST_JOBS}.",
            fix="Give fewer seeds or rows in one call; the report shows all of them.",
        )


def check(arguments: argparse.Namespace) -> None:
    """Checks the options that argparse cannot.

    Raises:
        UserError: Options are missing, contradict each other or make no sense.
    """
    if (arguments.exp is None) == (arguments.config is None):
        raise UserError(
            "Exactly one of --exp ID and --config FILE says what to train.",
            fix="run_experiments.py --list shows the ids.",
        )
    if arguments.executor not in EXECUTORS:
        raise UserError(
            f"There is no executor '{arguments.executor}'.", fix=f"Use {', '.join(EXECUTORS)}."
        )
    if arguments.startup_test and arguments.debug:
        raise UserError("--startup-test and --debug exclude each other.", fix="Choose one.")
    for name in ("cpu_jobs", "threads", "gpus_per_job", "keep", "cpus", "array", "mem"):
        value = getattr(arguments, name)
        option = "--" + name.replace("_", "-")
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{option} {value} makes no sense.", fix="Give a positive number.")
        if name in ("cpu_jobs", "threads", "gpus_per_job") and (value or 0) > most_workers():
            raise UserError(
                f"{option} {value} is more than this machine can run.",
                fix=f"Give {most_workers()} at most (16 per core).",
            )
    on_cluster = arguments.executor != "local"
    if on_cluster and arguments.gpus not in (None, "cpu"):
        raise UserError(
            f"--gpus {arguments.gpus} chooses GPUs of this machine, not of the cluster.",
            fix="Give --gpus-per-job N, or --gpus cpu for jobs without a GPU.",
        )
    for name in ("partition", "time", "cpus", "mem", "array", "slurm_options", "slurm_setup"):
        if getattr(arguments, name) and not on_cluster:
            option = "--" + name.replace("_", "-")
            raise UserError(f"{option} is for a cluster.", fix="Add --executor slurm.")
