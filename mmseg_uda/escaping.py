"""Names in reports: shown as they are, whatever they would mean to Markdown or to a spreadsheet."""

from __future__ import annotations

import re
from typing import Any

# What Markdown (CommonMark with GitHub's tables, links and formulas) takes for more than text.
_MARKUP = re.compile(
    r"[\\`*\[\]<|~$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is text
    r"|&(?=#?\w+;)"
    r"|(?<=http)(?=://)|(?<=https)(?=://)|(?<=ftp)(?=://)|(?<=\bwww)(?=\.)",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"^(\d*)([#>+=.)-])")  # headings, quotes, lists, rules
_INVISIBLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_FORMULA = tuple("=+-@＝＋－＠")


def markdown_text(text: str, paragraph: bool = False) -> str:
    """A text on one line that Markdown shows as it is.

    Args:
        text: A name.
        paragraph: Whether a line begins with it, which might then become a heading or a list.
    """
    escaped = _MARKUP.sub(r"\\\g<0>", _one_line(text))
    return _BLOCK.sub(r"\g<1>\\\g<2>", escaped) if paragraph else escaped


def markdown_code(text: str, in_table: bool = False) -> str:
    """A text on one line in the typeface of code."""
    text = _one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    text = text.replace("|", "\\|") if in_table else text
    return f"`{text}`" if len(fence) == 1 else f"{fence} {text} {fence}"


def csv_cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula: such a text gets an apostrophe before it."""
    formula = isinstance(value, str) and value.lstrip().startswith(_FORMULA)
    return f"'{value}" if formula else value


def _one_line(text: str) -> str:
    return _INVISIBLE.sub(" ", str(text)).strip()
