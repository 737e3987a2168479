"""Ends a training in order when it is asked to: finish the step, save, exit with status 75.

SIGTERM (schedulers, ``run_experiments.py``), SIGUSR1 and SIGUSR2 (a scheduler's early warning),
SIGHUP (a terminal that is closed; not under ``nohup``) and SIGINT (Ctrl-C) all mean the same; a
second SIGINT ends the process at once. In a run of several processes all of them stop after the
same step, whichever got the signal first.

A process that waits for a batch when the signal comes is between two steps: if it is the only one,
it saves at once. One that waits for other processes cannot save, and ends some seconds later
(``stop_watch``).
"""

from __future__ import annotations

import datetime
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from mmseg_uda.engine.checkpoint import newest_first
from mmseg_uda.engine.checkpoint_hook import SafeCheckpointHook
from mmseg_uda.engine.processes import limit_waits, wait_for
from mmseg_uda.engine.stop_watch import GRACE_SECONDS, StopWatch
from mmseg_uda.errors import Interrupted, MachineError, NotSavedError
from mmseg_uda.loader import WatchedLoader
from mmseg_uda.signals import heeded, leave_lost_terminal

STOP_SIGNALS = (
    *(signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGINT, signal.SIGHUP),
)


class StopRequest:
    """Notes stop signals between :meth:`listen` and :meth:`close`; else they act as before."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Takes over the signals; Python allows that in the main thread alone."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._note) for s in heeded(STOP_SIGNALS)}

    def close(self) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Nothing is printed here: the signal may have come in the middle of a print.
        if number == signal.SIGINT and self.signal is signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            leave_lost_terminal()
        self.signal = signal.Signals(number)


class Agreement:
    """Lets all processes of a run decide the same at the same step.

    The exchange runs on the CPU beside the next step, which costs no wait for the device; its
    answer counts one step later. A single process decides at once.

    Args:
        timeout: Seconds that the processes wait for each other.
    """

    def __init__(self, timeout: float) -> None:
        limit = datetime.timedelta(seconds=timeout)
        several = get_world_size() > 1
        self._group = dist.new_group(backend="gloo", timeout=limit) if several else None
        self._pending: tuple[Any, torch.Tensor] | None = None

    def any(self, vote: bool) -> bool:
        """Whether any process voted yes; to be called equally often by all."""
        if self._group is None:
            return vote
        agreed = False
        if self._pending is not None:
            work, votes = self._pending
            wait_for(work)
            agreed = bool(votes.item())
        votes = torch.tensor([float(vote)])
        work = dist.all_reduce(votes, dist.ReduceOp.MAX, self._group, async_op=True)
        self._pending = (work, votes)
        return agreed

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self._group is not None:
            dist.barrier(self._group)


class InterruptionHook(Hook):
    """Saves and ends the run after the step in which a stop was requested.

    Between two images of a validation, too; a resumed run validates that step anew.

    Args:
        request: Where stop signals are noted.
    """

    # After the checkpoint hook, which may just have saved the same step.
    priority = "LOWEST"

    def __init__(self, request: StopRequest) -> None:
        self.request = request
        self._agreement: Agreement | None = None
        self._watch: StopWatch | None = None
        self._begun = 0
        self._waited = 0

    def before_train(self, runner: Any) -> None:
        """Starts to listen: before the first step there is nothing to save."""
        self._agreement = Agreement(limit_waits(runner.cfg.env_cfg.get("dist_cfg", {})))
        self._begun = runner.iter
        if get_world_size() > 1 and threading.current_thread() is threading.main_thread():
            self._watch = StopWatch(STOP_SIGNALS, lambda number: _not_saved(runner, number))
        self.request.listen()
        for loop in (runner.train_loop, runner.val_loop):
            if isinstance(getattr(loop, "dataloader", None), WatchedLoader):
                loop.dataloader.asked = self._gives_up

    def close(self) -> None:
        """The run is over."""
        self.request.close()
        if self._watch is not None:
            self._watch.close()

    def _gives_up(self) -> bool:
        """Once a second while a batch does not come: whether not to wait for it any longer."""
        self._waited = self._waited + 1 if self.request.signal is not None else 0
        # Several processes can only save when all have come to the same step.
        return self._waited > (0 if get_world_size() == 1 else GRACE_SECONDS)

    def stop_waiting(self, runner: Any) -> NoReturn:
        """Ends a run that was asked to end while it waited for a batch.

        Raises:
            Interrupted: The state is saved.
            NotSavedError: It could not be.
        """
        assert self.request.signal is not None
        if not self._save_between_steps(runner):
            raise _not_saved(runner, self.request.signal)
        self._say_saved(runner, runner.iter)
        raise Interrupted

    def lost_worker(self, runner: Any, error: MachineError) -> NoReturn:
        """Ends a run whose data-loading workers have failed; what has been trained is saved.

        Raises:
            MachineError: ``error``, with what there is to go on from.
        """
        self._save_between_steps(runner)
        told = type(error)(f"{error.message}\n  {_to_go_on_from(runner)}", fix=error.fix)
        told.status = error.status
        raise told from None

    def _save_between_steps(self, runner: Any) -> bool:
        """Saves the state where a run waits for a batch; False if it is none to go on from."""
        alone = self._agreement is not None and get_world_size() == 1
        if not alone or runner.iter == 0 or not runner.optim_wrapper.should_update():
            return False
        if runner.iter > self._begun:
            self._save(runner, runner.iter)
        return True

    def after_train_iter(self, runner: Any, batch_idx: int, *_: Any, **__: Any) -> None:
        """Ends the run if that was asked for."""
        # With gradient accumulation, the gradients between two optimizer steps are in no
        # checkpoint.
        if runner.optim_wrapper.should_update():
            self._stop_if_asked(runner, batch_idx + 1)

    def after_val_iter(self, runner: Any, batch_idx: int, *_: Any, **__: Any) -> None:
        """Ends the run if that was asked for."""
        loader = runner.val_dataloader
        common = len(loader.dataset) // (loader.batch_size * get_world_size())
        # Some processes have one batch more than others; all have to vote equally often.
        if batch_idx < common or get_world_size() == 1:
            self._stop_if_asked(runner, runner.iter)

    def _stop_if_asked(self, runner: Any, step: int) -> None:
        if self._agreement is None or not self._agreement.any(self.request.signal is not None):
            return
        if self._watch is not None:
            self._watch.close()  # however long the first process writes
        self._save(runner, step)
        self._say_saved(runner, step)
        # The others must not end, and be taken for failed, while the first one still writes.
        self._agreement.wait()
        raise Interrupted

    @staticmethod
    def _save(runner: Any, step: int) -> None:
        hook = next((h for h in runner.hooks if isinstance(h, SafeCheckpointHook)), None)
        if hook is not None:
            hook.save_now(runner, step)
        else:
            meta = dict(epoch=runner.epoch, iter=step)
            runner.save_checkpoint(runner.work_dir, f"iter_{step}.pth", meta=meta, by_epoch=False)

    def _say_saved(self, runner: Any, step: int) -> None:
        reason = self.request.signal.name if self.request.signal else "another process' signal"
        runner.logger.warning(f"{reason}: the state after step {step} is saved, ending.")


def _to_go_on_from(runner: Any) -> str:
    found = newest_first(Path(runner.work_dir))
    return f"--resume goes on from {found[0].name}." if found else "There is no checkpoint yet."


def _not_saved(runner: Any, number: signal.Signals) -> NotSavedError:
    return NotSavedError(
        number,
        f"{number.name} came while another process or a data-loading worker did not answer: ended "
        f"without saving. {_to_go_on_from(runner)}",
    )


def quiet_worker(init: Callable[[int], None] | None, worker: int) -> None:
    """Starts a data-loading worker that leaves stop signals to the training process.

    Schedulers and terminals signal every process of a job, and a worker that dies takes the
    step with it that the training is about to finish. SIGTERM of the training process itself
    still ends the worker.

    Args:
        init: What else to do at the start.
        worker: Number of the worker.
    """
    for number in STOP_SIGNALS:
        if number is not signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    # Only sigwaitinfo tells who sent a signal; it needs the signal blocked in all threads.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()
    if init is not None:
        init(worker)


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
