"""What a config names beside values: the files in its ``_base_``, and modules to import."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import why_no_file

PACKAGE = "mmseg_uda"
SEPARATOR = "::"


def below_package(name: str | Path, configs: Path) -> Iterator[Path]:
    """Yields where a config of this package may lie, whatever folder its name starts from.

    Args:
        name: ``mmseg_uda::mic/gtaHR2csHR_mic_hrda.py``, or the same behind ``configs/``, ``../`` or
            nothing; with or without ``.py``.
        configs: The package's folder of configs.
    """
    parts = PurePosixPath(str(name).removeprefix(f"{PACKAGE}{SEPARATOR}")).parts
    while parts and parts[0] in (".", "..", configs.name):
        parts = parts[1:]
    if parts and parts[0] != "/":
        path = configs.joinpath(*parts)
        yield from (path, path.with_name(f"{path.name}.py"))


def find_bases_in(configs: Path) -> None:
    """Lets mmengine find the files in ``_base_`` that lie in this package.

    A name stands for a file beside the config that names it; where there is none, for one of the
    package's, so that a config reads the same in a checkout, beside one and without one. Names of
    other packages (``mmseg::...``) are mmengine's matter.

    Args:
        configs: The package's folder of configs.
    """
    from mmengine.config import Config

    stock = getattr(Config._get_cfg_path, "stock", Config._get_cfg_path)

    def find(name: Any, config: str) -> tuple[str, str | None]:
        if not isinstance(name, str):
            raise UserError(
                f"{config}: _base_ holds {name!r}, which is no name of a file.",
                fix='Write _base_ = ["mmseg_uda::daformer/gta2cs_daformer.py"].',
            )
        ours = name.startswith(f"{PACKAGE}{SEPARATOR}")
        if SEPARATOR in name and not ours:
            return stock(name, config)
        beside = Path(config).parent / name
        first = () if ours else (beside, beside.with_name(f"{beside.name}.py"))
        for path in (*first, *below_package(name, configs)):
            if why_no_file(path) is None:
                return str(path), None
        raise UserError(
            f"{config} names {name} in _base_, and there is no such file.",
            fix=_nearest_base(name, Path(config), configs),
        )

    find.stock = stock  # type: ignore[attr-defined]
    Config._get_cfg_path = staticmethod(find)


def _nearest_base(name: str, config: Path, configs: Path) -> str:
    import difflib

    known = {path.stem: path for path in configs.rglob("*.py")}
    near = difflib.get_close_matches(PurePosixPath(name).name.removesuffix(".py"), known, n=1)
    where = (
        f"Paths start from {config.parent.absolute()}; {PACKAGE}{SEPARATOR} stands for {configs}."
    )
    if not near:
        return where
    path = known[near[0]].relative_to(configs).as_posix()
    return f"Did you mean {PACKAGE}{SEPARATOR}{path}? {where}"


def import_modules(config: Mapping[str, Any], path: str | Path) -> None:
    """Imports the modules that a config names in ``custom_imports``.

    What is not installed is looked for in the current folder, then beside the config.

    Args:
        config: Resolved config.
        path: Its file.

    Raises:
        UserError: A module cannot be imported; says why.
    """
    imports = config.get("custom_imports") or {}
    if not isinstance(imports, Mapping):
        raise UserError(
            f"{path}: custom_imports={imports!r} is no dict.",
            fix='Write custom_imports = dict(imports=["mmseg_uda.register_all", "my_module"]).',
        )
    names = imports.get("imports") or ()
    for name in [names] if isinstance(names, str) else names:
        try:
            _find_module(str(name).partition(".")[0], Path(path))
            importlib.import_module(name)
        except UserError:
            raise
        except Exception as error:  # a user's module may raise anything
            if isinstance(error, ImportError) and imports.get("allow_failed_imports"):
                continue
            raise UserError(
                f"{path}: the module {name} of custom_imports cannot be imported: "
                f"{type(error).__name__}: {error}",
                fix="Correct custom_imports, or run from the folder that holds the module; beside "
                "the config and on PYTHONPATH it is found, too.",
            ) from error


def _find_module(name: str, config: Path) -> None:
    """Makes a folder importable that holds a module which is found nowhere else."""
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    for folder in map(str, (Path.cwd(), config.absolute().parent)):
        if importlib.machinery.PathFinder.find_spec(name, [folder]) is not None:
            sys.path.append(folder)
            return
