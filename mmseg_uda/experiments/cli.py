"""The command ``run_experiments.py``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mmseg_uda.cli import readable, report_error
from mmseg_uda.config_files import ROOT
from mmseg_uda.costs import cost_lines
from mmseg_uda.data_root import resolve_data_root, use_data_root
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import disk, preflight, profiles
from mmseg_uda.experiments.arguments import (
    check,
    check_size,
    cluster_options,
    parse_numbers,
    parser,
)
from mmseg_uda.experiments.banks import build_missing_banks
from mmseg_uda.experiments.cluster import make_cluster
from mmseg_uda.experiments.cluster_executor import ClusterExecutor
from mmseg_uda.experiments.display import make_display
from mmseg_uda.experiments.downloads import download_lines
from mmseg_uda.experiments.executors import LocalExecutor, Task
from mmseg_uda.experiments.grid import Experiment, find_experiment
from mmseg_uda.experiments.jobs import Action, State
from mmseg_uda.experiments.listing import list_experiments, short, show_plan
from mmseg_uda.experiments.plan import (
    Options,
    PlannedJob,
    batch_note,
    check_fingerprints,
    file_experiment,
    plan,
)
from mmseg_uda.experiments.report import write_report
from mmseg_uda.experiments.slots import make_slots
from mmseg_uda.loggers import require_loggers
from mmseg_uda.places import require_folder, settle_home
from mmseg_uda.wording import number_of

TRAIN = (sys.executable, str(ROOT / "tools" / "train.py"))
ALIGN = (sys.executable, str(ROOT / "tools" / "align.py"))
LAUNCH = str(ROOT / "tools" / "dist_run.py")
MAKE_WORLD = (sys.executable, str(ROOT / "tools" / "make_miniworld.py"))

KEEP = "default_hooks.checkpoint.max_keep_ckpts"
EXIT_OK, EXIT_FAILED, EXIT_USER, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(
    tables: Sequence[Experiment],
    arguments: Sequence[str] | None = None,
    train: Sequence[str] = TRAIN,
    make_world: Sequence[str] = MAKE_WORLD,
    align: Sequence[str] = ALIGN,
) -> int:
    """Runs the command and returns its exit status.

    Args:
        tables: Known experiments.
        arguments: Command-line arguments, default those of the process.
        train: Command that trains ``CONFIG --work-dir DIR --resume``.
        make_world: Command that makes the miniworld in ``--out DIR`` unless it is there.
        align: Command that aligns taxonomies as ``CONFIG --work-dir DIR`` says.
    """
    options = parser().parse_args(arguments)
    try:
        settle_home()
        return _run(tables, options, train, make_world, align)
    except Exception as error:
        known = readable(error)
        if known is None:
            raise
        return report_error(known)


def _run(
    tables: Sequence[Experiment],
    arguments: argparse.Namespace,
    train: Sequence[str],
    make_world: Sequence[str],
    align: Sequence[str],
) -> int:
    console = Console()
    if arguments.list:
        list_experiments(tables, console)
        return EXIT_OK
    check(arguments)
    require_loggers(arguments.log)
    use_data_root(arguments.data_root)
    options = Options(
        profile=arguments.profile,
        variant="startup" if arguments.startup_test else "debug" if arguments.debug else "",
        work_dir=arguments.work_dir.resolve(),
        amp=arguments.amp,
        cfg_options=tuple(arguments.cfg_options),
        gpus_per_job=arguments.gpus_per_job,
    )
    if arguments.config is not None:
        experiment = file_experiment(arguments.config)
    else:
        experiment = find_experiment(tables, arguments.exp)
    experiment = options.table(experiment)
    require_folder(options.folder(experiment))
    if arguments.report:
        paths = write_report(experiment, options.folder(experiment), options.profile)
        console.print(paths[0].read_text(encoding="utf-8"), markup=False, highlight=False)
        _say_report(console, paths)
        return EXIT_OK
    jobs = experiment.jobs(
        parse_numbers(arguments.rows, "--rows"), parse_numbers(arguments.seeds, "--seeds")
    )
    check_size(jobs)
    planned = plan(experiment, jobs, options)
    if options.cfg_options:
        preflight.check_keys(
            {f"{one.job.row_number} ({one.job.row.label})": one.effective for one in planned}
        )
    if arguments.dry_run:
        for one in planned:
            one.write()
        show_plan(experiment, planned, console)
        _say(console, batch_note(planned, options.gpus_per_job))
        folder = options.folder(experiment)
        _say(console, "\n" + disk.demand(planned, folder, len(planned), arguments.keep).text())
        _say_costs(console, planned, options)
        if options.profile == "paper":
            _say(console, "\n".join(download_lines(one.effective for one in planned)))
        return EXIT_OK
    session = _Session(experiment, planned, options, arguments, console, train, make_world, align)
    return session.run_locally() if arguments.executor == "local" else session.run_on_cluster()


@dataclass(frozen=True)
class _Session:
    """What a run of jobs needs, whoever executes them."""

    experiment: Experiment
    planned: Sequence[PlannedJob]
    options: Options
    arguments: argparse.Namespace
    console: Console
    train: Sequence[str]
    make_world: Sequence[str]
    align: Sequence[str]

    def run_locally(self) -> int:
        """Trains on this machine and returns the exit status."""
        arguments = self.arguments
        slots = make_slots(
            arguments.gpus,
            arguments.cpu_jobs,
            arguments.threads,
            jobs=len(self.planned),
            small=self.options.profile == "mini",
            gpus_per_job=self.options.gpus_per_job,
        )
        tasks = self.prepare(len(slots))
        build_missing_banks(self.planned, self.options.cfg_options)
        with make_display(self.console) as display:
            finished = LocalExecutor(
                slots, self.command, display, arguments.retry_failed, arguments.force
            ).run(tasks)
        return self.conclude(tasks, finished)

    def run_on_cluster(self) -> int:
        """Trains on a cluster and returns the exit status."""
        arguments = self.arguments
        workers = max(
            (one.effective.get("train_dataloader") or one.effective).get("num_workers", 0)
            for one in self.planned
        )
        chosen = cluster_options(arguments, workers)
        folder = self.options.folder(self.experiment)
        cluster = make_cluster(folder / "cluster", chosen)
        tasks = self.prepare(chosen.parallel or len(self.planned))
        with make_display(self.console) as display:
            finished = ClusterExecutor(
                cluster,
                lambda task: self.command(task, self.options.gpus_per_job),
                display,
                arguments.retry_failed,
                arguments.force,
                arguments.cancel_on_interrupt,
            ).run(tasks)
        status = self.conclude(tasks, finished)
        if not finished and not arguments.cancel_on_interrupt:
            _say(self.console, "Submitted jobs stay on the cluster and go on.")
        return status

    def prepare(self, parallel: int) -> list[Task]:
        """Checks everything that can be checked before the first job starts.

        Args:
            parallel: Jobs that train at the same time.
        """
        arguments, folder = self.arguments, self.options.folder(self.experiment)
        for one in self.planned:
            one.folder.evaluations()  # damaged ones would be told after the last job
        if not arguments.force:
            check_fingerprints(self.planned)
        # Data sets before disk space: who has none wants to hear that first.
        _provide_data(self.planned, self.options, self.make_world, self.console)
        need = disk.demand(self.planned, folder, parallel, arguments.keep)
        if not arguments.ignore_disk_space:
            _say(self.console, disk.require_space(need, folder))
        _say(self.console, batch_note(self.planned, self.options.gpus_per_job))
        _say_costs(self.console, self.planned, self.options)
        for one in self.planned:
            one.write()
        return [one.task() for one in self.planned]

    def command(self, task: Task, processes: int) -> list[str]:
        """Returns the command line that runs a task."""
        if not task.trains:
            return self.align_command(task)
        python, *script = self.train
        if processes > 1:
            script = [LAUNCH, "--standalone", "--nproc_per_node", str(processes), *script]
        line = [python, *script, str(task.config)]
        if processes > 1:
            line += ["--launcher", "pytorch"]
        line += ["--work-dir", str(task.folder.path), "--resume"]
        if self.options.amp:
            line += ["--amp", self.options.amp]
        if self.arguments.log:
            line += ["--log", *self.arguments.log]
        changes = list(self.options.cfg_options)
        if self.arguments.keep:
            changes.append(f"{KEEP}={self.arguments.keep}")
        if changes:
            line += ["--cfg-options", *changes]
        return line

    def align_command(self, task: Task) -> list[str]:
        """Returns the command line of an alignment; it resumes by itself."""
        line = [*self.align, str(task.config), "--work-dir", str(task.folder.path)]
        if self.options.amp:
            line += ["--amp", self.options.amp]
        if self.options.cfg_options:
            line += ["--cfg-options", *self.options.cfg_options]
        return line

    def conclude(self, tasks: Sequence[Task], finished: bool) -> int:
        """Writes the report, says what has become of the jobs, returns the exit status."""
        paths = write_report(
            self.experiment, self.options.folder(self.experiment), self.options.profile
        )
        states = [task.state for task in tasks]
        for state in State:
            if state in states:
                jobs = number_of(len(tasks), "job")
                _say(self.console, f"{state.value}: {states.count(state)} of {jobs}")
        if any(task.action is Action.SKIP_LOCKED and not task.ran for task in tasks):
            _say(self.console, "Jobs that another runner trains were left to it.")
        if any(task.action is Action.SKIP_FAILED for task in tasks):
            _say(self.console, "Failed jobs were left alone; --retry-failed runs them again.")
        _say_report(self.console, paths)
        if not finished:
            _say(self.console, "Interrupted. The same command continues where it stopped.")
            return EXIT_INTERRUPTED
        bad = {State.FAILED, State.INTERRUPTED}
        return EXIT_FAILED if bad & set(states) else EXIT_OK


def _say_report(console: Console, paths: Sequence[Path]) -> None:
    _say(console, f"Report: {short(paths[0])}")
    _say(console, f"As a page with curves and pictures: {short(paths[-1])}")


def _provide_data(
    planned: Sequence[PlannedJob],
    options: Options,
    make_world: Sequence[str],
    console: Console,
) -> None:
    if options.profile == "mini":
        world = resolve_data_root(profiles.WORLD)
        configs = [one.resolved for one in planned]
        groups, skipped = profiles.world_groups(configs), profiles.world_leftovers(configs)
        further = ["--with", *groups] if groups else []
        further += ["--skip", *skipped] if skipped else []
        made = subprocess.run([*make_world, "--out", world, *further], check=False)
        if made.returncode:
            raise UserError(
                "The miniworld could not be made; its message is above.",
                fix=f"Run python tools/make_miniworld.py --out {world} by itself.",
            )
        hint = f"Delete {world} and start again."
    else:
        hint = "Get the files as listed, or give --data-root DIR if they are elsewhere."
        if all(profiles.has_miniature(one.resolved) for one in planned):
            hint += " The same jobs run without any of them on the miniworld: --profile mini"
    preflight.require([one.resolved for one in planned], hint, weights=options.profile == "paper")
    for finding in preflight.inspect(one.effective for one in planned):
        _say(console, f"Warning: {finding}")


def _say_costs(console: Console, planned: Sequence[PlannedJob], options: Options) -> None:
    """Tells what the jobs will cost, as far as that is stored for trainings like theirs."""
    if options.variant or options.amp:
        return  # a few steps, or in another precision than counted
    trained = [(one.job.row.label, one.effective) for one in planned if one.trains]
    _say(console, "\n".join(cost_lines(trained)))


def _say(console: Console, text: str) -> None:
    if text:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
