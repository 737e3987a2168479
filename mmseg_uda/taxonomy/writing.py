"""Writes a taxonomy as a file that :func:`load_taxonomy` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .taxonomy import Taxonomy


def taxonomy_text(taxonomy: Taxonomy) -> str:
    """Returns the YAML of a taxonomy; every class stands behind its trainId."""
    lines = [
        f"name: {_text(taxonomy.name)}",
        f"ignore_index: {taxonomy.ignore_index}",
        "# in the order of trainIds, from 0",
        "classes:",
    ]
    entries = zip(
        taxonomy.classes, taxonomy.palette, taxonomy.groups, taxonomy.prompts, strict=True
    )
    for number, (name, color, group, prompts) in enumerate(entries):
        thing = ", thing: true" if number in taxonomy.things else ""
        lines.append(
            f"  - {{name: {_text(name)}, color: {list(color)}, group: {_text(group)}{thing}, "
            f"prompts: {_text(list(prompts))}}}  # {number}"
        )
    tables: dict[str, dict[str, dict[int, int]]] = {
        "raw_ids": taxonomy.raw_ids,
        "remaps": taxonomy.remaps,
    }
    for key, maps in tables.items():
        lines += [f"{key}:"] if maps else []
        for name, pairs in maps.items():
            body = ", ".join(f"{old}: {new}" for old, new in pairs.items())
            lines.append(f"  {_text(name)}: {{{body}}}")
    for key, values in (("raw_id_ends", taxonomy.raw_id_ends), ("subsets", taxonomy.subsets)):
        lines += [f"{key}:"] if values else []
        lines += [f"  {_text(name)}: {_text(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def taxonomy_from(name: str, classes: Sequence[str], palette: Sequence[Sequence[int]]) -> Taxonomy:
    """Returns a taxonomy of which only names and colours are known."""
    colors = tuple((int(r), int(g), int(b)) for r, g, b in palette)
    prompts = tuple((one,) for one in classes)
    return Taxonomy(name, tuple(classes), colors, ("all",) * len(colors), prompts)


def _text(value: Any) -> str:
    """JSON, which YAML contains."""
    return json.dumps(value, ensure_ascii=False)
