"""What the libraries say when another process of a run does not answer, in words for the user."""

from __future__ import annotations

import re

from mmseg_uda.errors import MachineError

# gloo, when the process at the other end is gone.
ENDED = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
# gloo, when the other end is there and silent: the first operation, and all after it.
SILENT = re.compile(r"Timed out waiting (?P<ms>\d+)ms|Application timeout caused pair closure")
# torch's store, where processes meet at the start.
APART = ("waiting for clients", "client socket has timed out", "socket has failed to connect")


def has_ended(error: Exception) -> bool:
    """Whether an error means that another process of the run is gone."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in ENDED)


def silent_process(error: Exception) -> MachineError | None:
    """The message about another process that does not answer, if that is what an error means."""
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    found = SILENT.search(text)
    if found is not None:
        time = f"{int(found['ms']) / 1000:g} seconds" if found["ms"] else "too long"
        return MachineError(
            f"Another process of this run has not answered for {time}: it was stopped, hangs, or "
            "its machine cannot be reached.",
            fix="End its processes and run the same command with --resume. How long to wait: "
            "env_cfg.dist_cfg.step_timeout in a training, env_cfg.dist_cfg.timeout at its start "
            "and in an evaluation.",
        )
    if any(sign in text for sign in APART):
        return MachineError(
            f"The processes of this run do not find each other: {text.splitlines()[0]}",
            fix="Start all of them, with the same MASTER_ADDR and PORT (NODE_RANK differs); "
            "env_cfg.dist_cfg.timeout says how long they wait.",
        )
    return None
