"""The one exception for mistakes that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """A wrong path, option, label or checkpoint, told in one readable message.

    Command-line tools print it without a traceback and exit with status 2.

    Args:
        message: What is wrong; names the file or the config key.
        fix: What to do about it.
    """

    def __init__(self, message: str, fix: str | None = None) -> None:
        if message.startswith("Caught UserError in DataLoader worker"):
            # torch raises a worker's error anew, with the worker's traceback as its message.
            message = message.rpartition("mmseg_uda.errors.UserError: ")[2].strip()
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}\n  Fix: {self.fix}"
