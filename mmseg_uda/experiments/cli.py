"""The command ``run_experiments.py``."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight, profiles
from mmseg_uda.experiments.configs import ROOT
from mmseg_uda.experiments.display import make_display
from mmseg_uda.experiments.executors import LocalExecutor, Task
from mmseg_uda.experiments.grid import Experiment, find_experiment
from mmseg_uda.experiments.jobs import Action, State
from mmseg_uda.experiments.plan import (
    Options,
    PlannedJob,
    check_fingerprints,
    file_experiment,
    plan,
)
from mmseg_uda.experiments.report import write_report
from mmseg_uda.experiments.slots import make_slots
from mmseg_uda.loggers import add_log_option, require_loggers
from mmseg_uda.taxonomy import resolve_data_root
from mmseg_uda.taxonomy.layouts import DATA_ROOT_VARIABLE

TRAIN = (sys.executable, str(ROOT / "tools" / "train.py"))
MAKE_WORLD = (sys.executable, str(ROOT / "tools" / "make_miniworld.py"))

EXIT_OK, EXIT_FAILED, EXIT_USER, EXIT_INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """Returns the command's argument parser."""
    result = argparse.ArgumentParser(
        prog="run_experiments.py",
        description="Trains the tables of the papers and reports their numbers. Calling it again "
        "continues: finished jobs are skipped, interrupted ones resume.",
    )
    what = result.add_argument_group("what to train (one of these)")
    what.add_argument("--list", action="store_true", help="list the experiments and stop")
    what.add_argument("--exp", type=int, metavar="ID", help="train a paper's table")
    what.add_argument("--config", type=Path, metavar="FILE", help="train one config file")
    which = result.add_argument_group("which of its jobs")
    which.add_argument("--rows", nargs="+", metavar="N", help="rows, e.g. 1 3-4 (default: all)")
    which.add_argument("--seeds", nargs="+", metavar="S", help="seeds (default: the table's)")
    how = result.add_argument_group("how")
    how.add_argument(
        "--profile",
        choices=("paper", "mini"),
        default="paper",
        help="paper: as published; mini: the same jobs on the rendered miniworld",
    )
    how.add_argument("--dry-run", action="store_true", help="write the configs, train nothing")
    how.add_argument("--report", action="store_true", help="only rebuild the report")
    how.add_argument("--startup-test", action="store_true", help="two steps of each row")
    how.add_argument("--debug", action="store_true", help="denser log, earlier validations")
    how.add_argument("--retry-failed", action="store_true", help="run failed jobs again, too")
    how.add_argument(
        "--force", action="store_true", help="put folders of other configs aside and train anew"
    )
    how.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision"
    )
    how.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="changes to each config"
    )
    add_log_option(how)
    where = result.add_argument_group("where")
    where.add_argument("--executor", default="local", help="local")
    where.add_argument("--gpus", metavar="IDS", help="e.g. 0,2; 'all'; 'cpu' (default: all)")
    where.add_argument("--cpu-jobs", type=int, metavar="N", help="trainings at a time on the CPU")
    where.add_argument("--threads", type=int, metavar="N", help="CPU threads of each of them")
    where.add_argument("--work-dir", type=Path, default=Path("work_dirs"), metavar="DIR")
    where.add_argument("--data-root", type=Path, metavar="DIR", help="in place of ./data")
    return result


def main(
    tables: Sequence[Experiment],
    arguments: Sequence[str] | None = None,
    train: Sequence[str] = TRAIN,
    make_world: Sequence[str] = MAKE_WORLD,
) -> int:
    """Runs the command and returns its exit status.

    Args:
        tables: Known experiments.
        arguments: Command-line arguments, default those of the process.
        train: Command that trains ``CONFIG --work-dir DIR --resume``.
        make_world: Command that makes the miniworld in ``--out DIR`` unless it is there.
    """
    options = parser().parse_args(arguments)
    try:
        return _run(tables, options, train, make_world)
    except UserError as error:
        Console(stderr=True).print(
            f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        return EXIT_USER


def _run(
    tables: Sequence[Experiment],
    arguments: argparse.Namespace,
    train: Sequence[str],
    make_world: Sequence[str],
) -> int:
    console = Console()
    if arguments.list:
        list_experiments(tables, console)
        return EXIT_OK
    _check(arguments)
    require_loggers(arguments.log)
    if arguments.data_root is not None:
        os.environ[DATA_ROOT_VARIABLE] = str(arguments.data_root.resolve())
    options = Options(
        profile=arguments.profile,
        variant="startup" if arguments.startup_test else "debug" if arguments.debug else "",
        work_dir=arguments.work_dir.resolve(),
        amp=arguments.amp,
        cfg_options=tuple(arguments.cfg_options),
    )
    if arguments.config is not None:
        experiment = file_experiment(arguments.config)
    else:
        experiment = find_experiment(tables, arguments.exp)
    experiment = options.table(experiment)
    if arguments.report:
        paths = write_report(experiment, options.folder(experiment), options.profile)
        console.print(paths[0].read_text(encoding="utf-8"), markup=False, highlight=False)
        console.print(f"Report: {_short(paths[0])}", highlight=False, soft_wrap=True)
        return EXIT_OK
    jobs = experiment.jobs(
        parse_numbers(arguments.rows, "--rows"), parse_numbers(arguments.seeds, "--seeds")
    )
    if arguments.dry_run:
        planned = plan(experiment, jobs, options)
        for one in planned:
            one.write()
        show_plan(experiment, planned, console)
        return EXIT_OK
    slots = make_slots(
        arguments.gpus,
        arguments.cpu_jobs,
        arguments.threads,
        jobs=len(jobs),
        small=options.profile == "mini",
    )
    planned = plan(experiment, jobs, options)
    if not arguments.force:
        check_fingerprints(planned)
    _provide_data(planned, options, make_world)
    for one in planned:
        one.write()
    tasks = [one.task() for one in planned]

    def command(task: Task) -> list[str]:
        line = [*train, str(task.config), "--work-dir", str(task.folder.path), "--resume"]
        if options.amp:
            line += ["--amp", options.amp]
        if arguments.log:
            line += ["--log", *arguments.log]
        if options.cfg_options:
            line += ["--cfg-options", *options.cfg_options]
        return line

    with make_display(console) as display:
        executor = LocalExecutor(
            slots, command, display, retry_failed=arguments.retry_failed, force=arguments.force
        )
        finished = executor.run(tasks)
    paths = write_report(experiment, options.folder(experiment), options.profile)
    return _conclude(console, tasks, finished, paths[0])


def list_experiments(tables: Sequence[Experiment], console: Console) -> None:
    """Prints ids, tables and job counts."""
    table = Table()
    for column in ("id", "paper", "table", "jobs", "what it compares"):
        table.add_column(column, justify="right" if column in ("id", "jobs") else "left")
    for experiment in tables:
        table.add_row(
            str(experiment.id),
            experiment.paper,
            experiment.table,
            str(len(experiment.jobs())),
            experiment.title,
        )
    console.print(table)
    console.print("Rows and names: run_experiments.py --exp ID --dry-run", highlight=False)


def show_plan(experiment: Experiment, planned: Sequence[PlannedJob], console: Console) -> None:
    """Prints the jobs with their state and where their configs are."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    counted = sum(one.job.row.counts for one in planned)
    extra = len(planned) - counted
    references = f" and {extra} reference jobs" if extra else ""
    say(f"Experiment {experiment.id} ({experiment.paper} {experiment.table}): {experiment.title}")
    say(f"{counted} jobs{references}")
    last = None
    for one in planned:
        if one.job.row_number != last:
            last = one.job.row_number
            say(f"\nrow {last}: {one.job.row.label}")
        state = one.folder.status().state
        say(f"  {one.job.name}" + ("" if state is State.PENDING else f"  [{state.value}]"))
        say(f"    config {_short(one.config_path)}")
    for note in experiment.notes:
        say(f"\nNote: {note}")


def parse_numbers(texts: Sequence[str] | None, option: str) -> list[int] | None:
    """Parses '1 3-4' or '1,3-4' to [1, 3, 4]; None stays None.

    Raises:
        UserError: For anything that is no number or range.
    """
    if texts is None:
        return None
    numbers: list[int] = []
    for text in " ".join(texts).replace(",", " ").split():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        if not match:
            raise UserError(f"{option}: '{text}' is no number.", fix=f"Example: {option} 1 3-4")
        first = int(match[1])
        numbers += range(first, int(match[2] or first) + 1)
    return list(dict.fromkeys(numbers))


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.exp is None) == (arguments.config is None):
        raise UserError(
            "Exactly one of --exp ID and --config FILE says what to train.",
            fix="run_experiments.py --list shows the ids.",
        )
    if arguments.executor != "local":
        raise UserError(
            f"There is no executor '{arguments.executor}'.", fix="Use --executor local."
        )
    if arguments.startup_test and arguments.debug:
        raise UserError("--startup-test and --debug exclude each other.", fix="Choose one.")
    for name in ("cpu_jobs", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            option = "--" + name.replace("_", "-")
            raise UserError(f"{option} {value} makes no sense.", fix="Give a positive number.")


def _provide_data(
    planned: Sequence[PlannedJob], options: Options, make_world: Sequence[str]
) -> None:
    if options.profile == "mini":
        world = resolve_data_root(profiles.WORLD)
        made = subprocess.run([*make_world, "--out", world], check=False)
        if made.returncode:
            raise UserError(
                "The miniworld could not be made; its message is above.",
                fix=f"Run {' '.join(make_world[1:])} --out {world} by itself.",
            )
        hint = f"Delete {world} and start again."
    else:
        hint = (
            "Get the files as listed, give --data-root DIR if they are elsewhere, or run the same "
            "jobs without any of them on the rendered miniworld: --profile mini"
        )
    configs = [one.resolved for one in planned]
    preflight.require(configs, hint, weights=options.profile == "paper")


def _conclude(console: Console, tasks: Sequence[Task], finished: bool, report: Path) -> int:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    states = [task.state for task in tasks]
    for state in State:
        if state in states:
            say(f"{state.value}: {states.count(state)} of {len(tasks)} jobs")
    if any(task.action is Action.SKIP_LOCKED for task in tasks):
        say("Jobs that another runner trains were left to it.")
    if any(task.action is Action.SKIP_FAILED for task in tasks):
        say("Failed jobs were left alone; --retry-failed runs them again.")
    say(f"Report: {_short(report)}")
    if not finished:
        say("Interrupted. The same command continues where it stopped.")
        return EXIT_INTERRUPTED
    bad = {State.FAILED, State.INTERRUPTED}
    return EXIT_FAILED if bad & set(states) else EXIT_OK


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
