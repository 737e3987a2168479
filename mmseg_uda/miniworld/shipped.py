"""Miniature weights that come with the package, with the recipe by which they were made."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from mmseg_uda.files import replacing

SHIPPED = Path(__file__).parent / "shipped"
_DATE = (1980, 1, 1, 0, 0, 0)  # the same content makes the same archive


def ship(name: str, recipe: str, made: Path) -> Path:
    """Packs weights into the package.

    Args:
        name: Of the weights.
        recipe: Fingerprint of what made them.
        made: Their file or folder.

    Returns:
        The archive.
    """
    SHIPPED.mkdir(exist_ok=True)
    archive = SHIPPED / f"{name}.zip"
    files = [made] if made.is_file() else sorted(p for p in made.rglob("*") if p.is_file())
    with (
        replacing(archive) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        packed.comment = recipe.encode()
        for file in files:
            inside = zipfile.ZipInfo(str(file.relative_to(made.parent)), _DATE)
            inside.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(inside, file.read_bytes())
    return archive


def shipped_recipe(name: str) -> str | None:
    """By which recipe the package's weights of a name were made; None if it has none."""
    archive = SHIPPED / f"{name}.zip"
    if not archive.is_file():
        return None
    with zipfile.ZipFile(archive) as packed:
        return packed.comment.decode()


def unpack(name: str, recipe: str, target: Path) -> bool:
    """Writes the package's weights; returns whether it has those of the recipe.

    Args:
        name: Of the weights.
        recipe: Fingerprint of what is wanted.
        target: File or folder of the name that it had when it was packed.
    """
    if shipped_recipe(name) != recipe:
        return False
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(SHIPPED / f"{name}.zip") as packed:
        packed.extractall(partial)
    if target.is_dir():
        shutil.rmtree(target)
    (partial / target.name).replace(target)
    shutil.rmtree(partial)
    return True
