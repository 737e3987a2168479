"""Stamps: which parameters and which code made a folder, and whether it is whole."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError

STAMP = ".miniworld.json"
_HERE = Path(__file__).parent


def fingerprint(parameters: Mapping[str, Any], modules: Sequence[str]) -> str:
    """Hash of parameters and of the code of modules of this package.

    Args:
        parameters: JSON-serialisable.
        modules: File names in this folder; a change of their code makes old results stale, one
            of their docstrings, comments or empty lines does not.
    """
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for name in modules:
        digest.update(_code((_HERE / name).read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def _code(text: str) -> str:
    """Lines of a module without docstrings, comments, indentation and empty ones."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            docstring = node.body[0]
            for number in range(docstring.lineno - 1, docstring.end_lineno or 0):
                lines[number] = ""
    return "\n".join(s for s in map(str.strip, lines) if s and not s.startswith("#"))


def read_stamp(folder: Path) -> dict[str, Any]:
    """The stamp of a folder; empty when it has none or the stamp cannot be read."""
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(folder: Path, **entries: Any) -> None:
    """Writes a folder's stamp atomically."""
    partial = folder / (STAMP + ".partial")
    partial.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
    os.replace(partial, folder / STAMP)


def is_complete(folder: Path, print_: str) -> bool:
    """Whether the folder was finished with this fingerprint."""
    stamp = read_stamp(folder)
    return stamp.get("fingerprint") == print_ and stamp.get("complete") is True


def open_folder(folder: Path, print_: str, parameters: Mapping[str, Any]) -> None:
    """Prepares a folder for writing: keeps a half-finished one of the same fingerprint.

    Raises:
        UserError: The folder holds files that the miniature world did not make.
    """
    if folder.is_dir() and any(folder.iterdir()):
        stamp = read_stamp(folder)
        if not stamp:
            raise UserError(
                f"{folder} exists and was not made by the miniature world.",
                fix="Choose another folder with --out, or move this one away.",
            )
        if stamp.get("fingerprint") == print_:
            for leftover in folder.rglob(".*.partial*"):
                leftover.unlink()
            return
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_stamp(folder, fingerprint=print_, complete=False, parameters=dict(parameters))


def close_folder(folder: Path, print_: str, parameters: Mapping[str, Any]) -> None:
    """Marks a folder as whole."""
    write_stamp(folder, fingerprint=print_, complete=True, parameters=dict(parameters))
