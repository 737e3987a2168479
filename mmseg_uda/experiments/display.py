"""What the user sees while jobs run: a live table, or plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.executors import Task
from mmseg_uda.experiments.jobs import State

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 30.0
"""Without a terminal, a running job tells its progress this often."""

COLOURS = {
    State.PENDING: "dim",
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
    State.INTERRUPTED: "yellow",
}
BAR_CELLS = 16


def clock(seconds: float | None) -> str:
    """Returns a duration as 'h:mm:ss', '–' for None."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def title(task: Task) -> str:
    """Returns the short name of a task: row, label, seed."""
    job = task.job
    seed = f", seed {job.seed}"
    return f"{job.row_number} {job.row.label}{seed}"


def progress_text(task: Task) -> str:
    """Returns e.g. '300/1200 (25%), 0.121 s/it, 0:01:49 left', '' before the first step."""
    progress = task.folder.progress()
    done, total = progress.get("iter"), progress.get("max_iters")
    if not total or done is None:
        return ""
    text = f"{done}/{total} ({100 * done // total}%)"
    if progress.get("seconds_per_iter"):
        text += f", {progress['seconds_per_iter']:.3f} s/it"
    if task.state is State.RUNNING and progress.get("eta_seconds") is not None:
        text += f", {clock(progress['eta_seconds'])} left"
    return text


def last_miou(task: Task) -> str:
    """Returns the mIoU of the last validation with one decimal, '–' before the first."""
    try:
        evaluations = task.folder.evaluations()
    except UserError:  # of a training that goes on; the report tells
        evaluations = []
    value = evaluations[-1].get("mIoU") if evaluations else None
    return "–" if value is None else f"{value:.1f}"


class PlainDisplay:
    """One line per event, and one per running job every half minute."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._told: dict[str, float] = {}

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def note(self, task: Task, text: str) -> None:
        """Prints what happened to a task."""
        if task.state is State.DONE and task.ran:
            text += f": mIoU {last_miou(task)}, {progress_text(task)}"
        self._told[task.job.name] = time.monotonic()
        self._print(task, text)

    def update(self, tasks: Sequence[Task]) -> None:
        """Prints the progress of the jobs that have been silent for a while."""
        now = time.monotonic()
        for task in tasks:
            if task.state is not State.RUNNING:
                continue
            if now - self._told.setdefault(task.job.name, now) >= PLAIN_SECONDS:
                self._told[task.job.name] = now
                self._print(task, progress_text(task) or "preparing")

    def _print(self, task: Task, text: str) -> None:
        line = f"[{time.strftime('%H:%M:%S')}] {title(task)}: {text}"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A table of all jobs that follows their progress files."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._drawn = 0.0

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def note(self, task: Task, text: str) -> None:
        """Prints failures and interruptions above the table, which itself tells the rest."""
        if task.state in (State.FAILED, State.INTERRUPTED) and task.ran:
            # As Text: style and markup options of print() would colour the live table, too.
            self.console.print(Text(f"{title(task)}: {text}", style=COLOURS[task.state]))

    def update(self, tasks: Sequence[Task]) -> None:
        """Redraws the table once per second and whenever everything has ended."""
        now = time.monotonic()
        if now - self._drawn < REFRESH_SECONDS and any(t.state is State.RUNNING for t in tasks):
            return
        self._drawn = now
        self._live.update(self._table(tasks), refresh=True)

    def _table(self, tasks: Sequence[Task]) -> Table:
        table = Table()
        for column in ("row", "state", "progress", "mIoU"):
            table.add_column(column, no_wrap=column == "progress")
        for task in tasks:
            state = task.state.value
            if task.action is not None and not task.ran:
                state = task.action.value
            elif task.ending and task.state is State.RUNNING:
                state = "finishing the step"
            elif task.place and task.state in (State.RUNNING, State.PENDING):
                state = task.place
            table.add_row(
                Text(title(task)),
                Text(state, style=COLOURS[task.state]),
                self._progress(task),
                last_miou(task),
            )
        return table

    def _progress(self, task: Task) -> Text:
        progress = task.folder.progress()
        done, total = progress.get("iter"), progress.get("max_iters")
        if not total or done is None:
            return Text("")
        if task.state is not State.RUNNING:
            return Text(f"{done}/{total}")
        filled = BAR_CELLS * done // total
        left = clock(progress.get("eta_seconds"))
        return Text.assemble(
            ("━" * filled, "cyan"),
            ("─" * (BAR_CELLS - filled), "dim"),
            f" {100 * done // total:3d}%, {left} left",
        )


def make_display(console: Console) -> PlainDisplay | LiveDisplay:
    """Returns the live table on a terminal, plain lines elsewhere."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)
