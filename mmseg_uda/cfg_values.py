"""Values as they are written on a command line: numbers, texts, lists, tuples and dicts."""

from __future__ import annotations

from typing import Any

BRACKETS = {"[": "]", "(": ")", "{": "}"}
QUOTES = ("'", '"')
CONSTANTS = {"true": True, "false": False}
CALL = "dict("


def parse_value(text: str) -> Any:
    """Reads a value.

    ``None``, booleans and numbers are what Python makes of them, other words are texts, with or
    without quotes. ``1,2`` and ``[1, 2]`` are lists, ``(1, 2)`` is a tuple, ``{0: 1, name: x}`` and
    ``dict(name=x)`` are dicts; all of them nest.

    >>> parse_value("{0: 1, scale: (2, .5), names: [road, 'traffic light', None]}")
    {0: 1, 'scale': (2, 0.5), 'names': ['road', 'traffic light', None]}
    >>> parse_value("1e-4"), parse_value("a:b c"), parse_value("True,1")
    (0.0001, 'a:b c', [True, 1])

    Raises:
        ValueError: Brackets or quotes do not match, or an entry of a dict is no ``key: value``.
    """
    reader = _Reader(text)
    if not reader.next():
        return ""
    values, commas = reader.items("")
    return values if commas else values[0]


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next(self) -> str:
        """The next character that is no space; '' at the end."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def items(self, end: str) -> tuple[list[Any], int]:
        """Values up to the closing bracket ``end`` ('': the end of the text); number of commas."""
        values: list[Any] = []
        commas = 0
        while not self._at_end(end):
            values.append(self._value(f",{end}"))
            commas += self._separator(end)
        return values, commas

    def _value(self, ends: str) -> Any:
        opening = self.next()
        if self.text.startswith(CALL, self.at):
            self.at += len(CALL)
            return self._dict("=", ")")
        if opening not in BRACKETS:
            return self._word(ends)
        self.at += 1
        if opening == "{":
            return self._dict(":", "}")
        values, _ = self.items(BRACKETS[opening])
        return tuple(values) if opening == "(" else values

    def _dict(self, between: str, end: str) -> dict[Any, Any]:
        entries: dict[Any, Any] = {}
        while not self._at_end(end):
            key = self._word(f"{between},{end}")
            if self.next() != between:
                raise ValueError(f"{key!r} in a dict has no value: write {key}{between}value")
            self.at += 1
            if key in entries:
                raise ValueError(f"the key {key!r} is there twice")
            entries[key] = self._value(f",{end}")
            self._separator(end)
        return entries

    def _at_end(self, end: str) -> bool:
        """Whether a list or dict ends here; goes behind its bracket."""
        found = self.next()
        if not found and end:
            raise ValueError(f"the closing {end} is missing")
        self.at += len(end) if found == end else 0
        return found == end

    def _separator(self, end: str) -> int:
        """Goes behind the comma, if there is one; returns their number."""
        if self.next() == ",":
            self.at += 1
            return 1
        if self.next() and self.next() != end:
            raise ValueError(f"{self.text[self.at :]!r} is left over")
        return 0

    def _word(self, ends: str) -> Any:
        """A text in quotes, or what stands before one of ``ends``, as it is meant."""
        start = self.at
        if self.next() in QUOTES:
            close = self.text.find(self.next(), self.at + 1)
            if close < 0:
                raise ValueError(f"the quote {self.next()} is not closed")
            start, self.at = self.at + 1, close + 1
            return self.text[start:close]
        expected: list[str] = []  # closing brackets inside the word
        while self.at < len(self.text) and (expected or self.text[self.at] not in ends):
            letter = self.text[self.at]
            if letter in BRACKETS:
                expected.append(BRACKETS[letter])
            elif letter in BRACKETS.values() and (not expected or expected.pop() != letter):
                raise ValueError(f"the {letter} closes nothing")
            self.at += 1
        if expected:
            raise ValueError(f"the closing {expected[-1]} is missing")
        word = self.text[start : self.at].strip()
        if not word:
            rest = self.text[self.at :]
            raise ValueError(f"a value is missing {f'before {rest!r}' if rest else 'at the end'}")
        return _plain(word)


def _plain(word: str) -> Any:
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return None if word == "None" else CONSTANTS.get(word.lower(), word)
