"""What a check says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Level(str, Enum):
    """How serious a finding is; only problems make the doctor's exit status 1."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        area: 'installation', 'config', 'data' or 'weights'.
        level: See ``Level``.
        message: What was found.
        fix: What to do about it, '' where nothing needs to be done.
        details: What ``--json`` adds. ``pixels`` (class name -> number) is drawn as a histogram.
    """

    area: str
    level: Level
    message: str
    fix: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
