"""Commands in Markdown, and what a comment above them says about running them.

A fenced ``bash`` block holds one command per line. The HTML comment on the line before it is one of

* ``run: no; REASON``: the block is not run;
* ``run: with ARGUMENTS``: every command of the block gets these arguments, too;
* ``run: expect STATUS "TEXT"``: the command ends with this status and prints the text (optional).

Without a comment, every command runs as it stands and succeeds.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- run: (?P<how>.*?) -->\n)?^(?P<indent>[ ]*)```bash\n(?P<body>.*?)^[ ]*```",
    re.MULTILINE | re.DOTALL,
)
_EXPECT = re.compile(r'expect (?P<status>\d+)(?: "(?P<text>[^"]+)")?')


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: File name of the page.
        line: As a reader types it, without its comment.
        reason: Why it is not run; None if it is.
        extra: Arguments that the test adds.
        status: Exit status.
        text: Must occur in the output.
    """

    page: str
    line: str
    reason: str | None = None
    extra: str = ""
    status: int = 0
    text: str = ""

    def arguments(self, replacements: dict[str, str]) -> list[str]:
        """Words of the command, placeholders replaced."""
        words = shlex.split(f"{self.line} {self.extra}")
        return [replacements.get(word, word) for word in words]


def read_commands(page: Path) -> list[Command]:
    """All commands of a page.

    Raises:
        ValueError: For a comment that says nothing known.
    """
    found = []
    for block in _BLOCK.finditer(page.read_text()):
        options = _options(block["how"], page)
        for line in block["body"].splitlines():
            command = " ".join(shlex.split(line, comments=True, posix=False))
            if command:
                found.append(Command(page.name, command, **options))
    return found


def _options(how: str | None, page: Path) -> dict:
    if how is None:
        return {}
    if how.startswith("no; ") and len(how) > len("no; "):
        return {"reason": how.removeprefix("no; ")}
    if how.startswith("with "):
        return {"extra": how.removeprefix("with ")}
    expected = _EXPECT.fullmatch(how)
    if expected is None:
        raise ValueError(f"{page}: '<!-- run: {how} -->' is not understood")
    return {"status": int(expected["status"]), "text": expected["text"] or ""}
