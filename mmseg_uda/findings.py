"""What a check says: the doctor shows it, the start of a training tells or refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mmseg_uda.calling import as_called
from mmseg_uda.errors import UserError
from mmseg_uda.wording import number_of

SHOWN = 10  # problems in one message


class Level(str, Enum):
    """How serious a finding is.

    A training does not start with a problem, and tells warnings before its first step; only
    problems make the doctor's exit status 1.
    """

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        area: 'installation', 'config', 'data' or 'weights'.
        level: See ``Level``.
        message: What was found; names the file, the data set or the config key.
        fix: What to do about it, '' where nothing needs to be done.
        details: What ``--json`` adds. ``pixels`` (class name -> number) is drawn as a histogram.
    """

    area: str
    level: Level
    message: str
    fix: str = field(default="", kw_only=True)
    details: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", as_called(self.message))
        object.__setattr__(self, "fix", as_called(self.fix))

    def __str__(self) -> str:
        return f"{self.message}\n  Fix: {self.fix}" if self.fix else self.message


def problem(area: str, error: UserError) -> Finding:
    """Returns an error as a finding."""
    return Finding(area, Level.PROBLEM, error.message, fix=error.fix or "")


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Returns each message once, in order: several configs read the same data."""
    return list({(one.level, one.message): one for one in findings}.values())


def warnings_of(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the warnings among findings without a problem.

    Raises:
        UserError: There are problems; names all of them.
    """
    problems = [one for one in findings if one.level is Level.PROBLEM]
    if len(problems) == 1:
        raise UserError(problems[0].message, fix=problems[0].fix or None)
    if problems:
        lines = [f"{number_of(len(problems), 'thing')} would spoil the training:"]
        for one in problems[:SHOWN]:
            lines += [f"  • {one.message}", *([f"    Fix: {one.fix}"] if one.fix else [])]
        rest = len(problems) - SHOWN
        lines += [f"  • and {rest} more"] if rest > 0 else []
        raise UserError("\n".join(lines), fix="python tools/doctor.py CONFIG lists what is left.")
    return [one for one in findings if one.level is Level.WARNING]
