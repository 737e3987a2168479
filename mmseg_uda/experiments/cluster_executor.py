"""Submits tasks to a cluster and shows how they get on, until all have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mmseg_uda.experiments.cluster import Cluster, Handle
from mmseg_uda.experiments.cluster_job import ClusterTraining
from mmseg_uda.experiments.executors import (
    BY_USER,
    Display,
    Stop,
    Task,
    ending_text,
    take_ready,
)
from mmseg_uda.experiments.jobs import Action, State

POLL_SECONDS = 0.5
CRASHED = ("FAILED", "COMPLETED", "FINISHED", "UNKNOWN")  # before the training began
STAYS = "stays on the cluster; the same command finds it again"


class ClusterExecutor:
    """Trains tasks on a cluster.

    Args:
        cluster: Where to submit.
        command: Makes the command line of a task.
        display: Where progress is shown.
        retry_failed: Whether failed jobs run again.
        force: Whether folders of another config are put aside.
        cancel: Whether an interruption by the user cancels the jobs; else they stay.
    """

    def __init__(
        self,
        cluster: Cluster,
        command: Callable[[Task], list[str]],
        display: Display,
        retry_failed: bool = False,
        force: bool = False,
        cancel: bool = False,
    ) -> None:
        self.cluster = cluster
        self.command = command
        self.display = display
        self.retry_failed = retry_failed
        self.force = force
        self.cancel = cancel
        self._stop = Stop()
        self._handles: dict[str, Handle] = {}

    def run(self, tasks: Sequence[Task]) -> bool:
        """Submits the tasks and follows them; returns False when the user interrupted."""
        waiting = list(tasks)
        with self._stop:
            while (waiting or self._handles) and not self._stop.count:
                self._submit(waiting, tasks)
                for task in tasks:
                    if task.job.name in self._handles:
                        self._follow(task)
                self.display.update(tasks)
                if self._handles:
                    time.sleep(POLL_SECONDS)
            if self._stop.count:
                self._leave(tasks)
        return not self._stop.count

    def _submit(self, waiting: list[Task], tasks: Sequence[Task]) -> None:
        capacity = self.cluster.capacity
        free = len(waiting) if capacity is None else capacity - len(self._handles)
        claimed: list[Task] = []
        try:
            while len(claimed) < free and not self._stop.count:
                task = take_ready(waiting, tasks, self.display)
                if task is None:
                    break
                if self._take(task):
                    claimed.append(task)
            handles = self.cluster.submit([self._call(task) for task in claimed]) if claimed else []
            for task, handle in zip(list(claimed), handles, strict=True):
                task.folder.queue(task.fingerprint, handle.job_id)
                claimed.remove(task)
                self._watch(task, handle, "submitted")
        finally:
            for task in claimed:  # only after an error
                task.folder.lock.release()

    def _call(self, task: Task) -> ClusterTraining:
        return ClusterTraining(task.folder.path, task.fingerprint, tuple(self.command(task)))

    def _take(self, task: Task) -> bool:
        """Claims a task for submission; False if it is on the cluster already, or not to run."""
        task.action = task.folder.claim(task.fingerprint, self.retry_failed, self.force)
        ours = task.action in (Action.START, Action.RESUME)
        status = task.folder.status()
        if status.cluster_job and status.fingerprint == task.fingerprint:
            # Asked under the lock: another runner may just have submitted the job. A job that
            # runs has the lock itself.
            handle = self.cluster.find(status.cluster_job)
            if handle is not None:
                if ours:
                    task.folder.lock.release()
                self._watch(task, handle, "on the cluster already")
                return False
        if not ours:
            task.state = status.state
            self.display.note(task, task.action.value)
        return ours

    def _watch(self, task: Task, handle: Handle, text: str) -> None:
        self._handles[task.job.name] = handle
        task.ran = True
        task.place = f"queued, {handle.job_id}"
        self.display.note(task, f"{text} as {self.cluster.name} job {handle.job_id}")

    def _follow(self, task: Task) -> None:
        handle = self._handles[task.job.name]
        ended = handle.has_ended()
        status = task.folder.status()  # read after the question, so it is the last one
        if not ended:
            running = status.state is State.RUNNING and status.cluster_job == handle.job_id
            if running and task.state is not State.RUNNING:
                task.place = f"{self.cluster.name} {handle.job_id}"
                where = f"runs on {status.host} (job {handle.job_id})"
                self.display.note(task, f"{where}, log: {task.folder.log}")
            elif task.state is State.RUNNING and not running:
                task.place = f"queued, {handle.job_id}"
                self.display.note(task, f"{status.message or 'stopped'} (job {handle.job_id})")
            task.state = State.RUNNING if running else State.PENDING
            return
        if status.state in (State.PENDING, State.RUNNING) or status.cluster_job:
            if not task.folder.lock.acquire():
                return  # its last process is about to end
            word = handle.state().split()[0]
            state, output = State.INTERRUPTED, ""
            if word == "OUT_OF_MEMORY" or (status.state is State.PENDING and word in CRASHED):
                state, output = State.FAILED, handle.output()
            status = task.folder.finish(state, None, f"ended by the cluster ({word})\n{output}")
        task.state = status.state
        del self._handles[task.job.name]
        self.display.note(task, ending_text(task, status.message))

    def _leave(self, tasks: Sequence[Task]) -> None:
        """After Ctrl-C: cancels the jobs and waits for their ends, or lets them be."""
        mine = [task for task in tasks if task.job.name in self._handles]
        for task in mine:
            if self.cancel:
                task.ending = True
                self._handles[task.job.name].cancel()
                self.display.note(task, f"cancelled {BY_USER}")
            else:
                self.display.note(task, STAYS)
        while self.cancel and self._handles and not self._stop.impatient:
            for task in mine:
                if task.job.name in self._handles:
                    self._follow(task)
            self.display.update(tasks)
            time.sleep(POLL_SECONDS)
