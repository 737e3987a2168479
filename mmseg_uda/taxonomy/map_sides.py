"""The two label spaces of a taxonomy map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

from .taxonomy import Taxonomy, load_taxonomy


def read_side(content: Mapping, path: Path, side: str) -> Taxonomy:
    """Returns a map's ``source`` or ``target``: by name, by path, or by its classes alone.

    Args:
        content: Of the map's file.
        path: The file; a relative path to a taxonomy starts from its folder.
        side: ``source`` or ``target``.

    Raises:
        UserError: There is none, or it is damaged.
    """
    if (given := content.get(side)) is not None:
        return other_taxonomy(path, side, given)
    classes = content.get(f"{side}_classes")
    if classes is None or not are_texts(classes):
        raise UserError(
            f"{path}: no {side} taxonomy.",
            fix=f"Add '{side}: NAME or PATH', or '{side}_classes: [...]'.",
        )
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise UserError(f"{path}: {side}_classes lists '{twice[0]}' twice.")
    palette = content.get("palette") if side == "target" else None
    if palette is None:
        palette = [_colour(k) for k in range(len(classes))]
    if not is_list(palette) or len(palette) != len(classes) or not all(map(_is_color, palette)):
        raise UserError(
            f"{path}: palette has to hold one RGB colour per target class.",
            fix="For example '- [128, 64, 128]', three numbers in 0..255.",
        )
    ignore = content.get("ignore_index", 255 if len(classes) <= 255 else 65535)
    if not is_int(ignore) or not len(classes) <= ignore <= 65535:
        raise UserError(
            f"{path}: ignore_index {ignore!r} is no id behind those of the "
            f"{len(classes)} {side} classes.",
            fix="255, or 65535 for more than 255 classes.",
        )
    return Taxonomy(
        name=f"{path.stem}.{side}",
        classes=tuple(classes),
        palette=tuple(tuple(color) for color in palette),
        groups=("class",) * len(classes),
        prompts=((),) * len(classes),
        ignore_index=ignore,
    )


def other_taxonomy(path: Path, key: str, given: Any) -> Taxonomy:
    """Returns the taxonomy that an entry of a map names.

    Raises:
        UserError: It names none.
    """
    if not isinstance(given, str) or not given.strip():
        raise UserError(f"{path}: {key} {given!r} is no name or path of a taxonomy.")
    beside = path.parent / given
    try:
        return load_taxonomy(beside if beside.is_file() else given)
    except UserError as error:
        raise UserError(f"{path}, {key}: {error.message}", fix=error.fix) from error


def is_list(value: Any) -> bool:
    """Whether a value is a list with entries."""
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0


def are_texts(value: Any) -> bool:
    """Whether a value is a list of texts, none of them empty."""
    return is_list(value) and all(isinstance(text, str) and text.strip() for text in value)


def _is_color(value: Any) -> bool:
    return is_list(value) and len(value) == 3 and all(is_int(v) and 0 <= v <= 255 for v in value)


def is_int(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _colour(index: int) -> tuple[int, int, int]:
    """A colour of PASCAL VOC's palette: bits of the number, spread over the three channels."""
    channels, rest = [0, 0, 0], index + 1
    for bit in range(7, -1, -1):
        for c in range(3):
            channels[c] |= (rest >> c & 1) << bit
        rest >>= 3
    return channels[0], channels[1], channels[2]
