"""Config files: found by their name, and read without what only helped to write them.

No torch and no mmengine before a file is read.
"""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmseg_uda.calling import ROOT
from mmseg_uda.cfg_options import TOP_LEVEL
from mmseg_uda.config_bases import below_package, find_bases_in, import_modules
from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import require_file, why_no_file
from mmseg_uda.released import JSON, read_json
from mmseg_uda.system_errors import explain

if TYPE_CHECKING:
    from mmengine.config import Config

CONFIGS = ROOT / "configs"
BASES = CONFIGS / "_base_"
ENDINGS = (".py", ".yaml", ".yml")
WEIGHTS = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")
RUNTIME = (
    *("custom_imports", "default_scope", "runner_type", "env_cfg", "randomness", "visualizer"),
    *("log_processor", "log_level", "load_from", "resume", "default_hooks"),
)


def final_configs() -> list[Path]:
    """Returns the configs that a user trains, without their base files."""
    return sorted(path for path in CONFIGS.glob("*/*.py") if path.parent != BASES)


def find_config(name: str | Path) -> Path:
    """Returns the config file of a name: a path, with or without ``.py``, also below ``configs/``.

    The current folder and its ``configs/`` come before those of this repository, which
    ``mmseg_uda::mic/gtaHR2csHR_mic_hrda.py`` names alone.

    Raises:
        UserError: There is none, with the nearest name; or it is a folder, a pipe, a device.
    """
    near = (
        path
        for folder in (Path(), Path(CONFIGS.name), ROOT)
        for path in (folder / name, folder / f"{name}.py")
    )
    for path in (*near, *below_package(name, CONFIGS)):
        if why_no_file(path) is None:
            return path
    require_file(name, f"There is no config {str(name)[:200]}.", _nearest(Path(name)))
    raise UserError(f"{str(name)[:200]} cannot be read.", fix=_nearest(Path(name)))


def _nearest(wanted: Path) -> str:
    """A question with the config whose name is most like ``wanted``."""
    try:
        there = list((wanted if wanted.is_dir() else wanted.parent).glob("*.py"))
    except OSError:
        there = []
    known = {path.stem.lower(): path for path in (*final_configs(), *there)}
    near = difflib.get_close_matches(wanted.name.removesuffix(".py").lower(), known, n=1)
    if not near:
        return "Configs are under configs/; check the path."
    path = known[near[0]]
    return f"Did you mean {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}?"


def read_config(name: str | Path, with_modules: bool = True) -> Config:
    """Reads a config file with its bases; JSON is a released config of mmsegmentation 0.x.

    Names at the top of our base files that nothing reads (fragments, helper variables) are dropped:
    the config that uses them has copies of their values.

    Args:
        name: See ``find_config``.
        with_modules: Whether to import what ``custom_imports`` names, from the current folder or
            that of the config, too.

    Raises:
        UserError: The file is missing or cannot be read as a config.
    """
    path = find_config(name)
    from mmengine.config import Config

    if path.suffix == JSON:
        return Config(read_json(path))
    ending = os.path.splitext(path)[1]
    if ending in WEIGHTS:
        raise UserError(
            f"{str(name)[:200]} holds weights, and a config is wanted in its place.",
            fix="Give the config first, and the checkpoint behind it.",
        )
    if ending not in ENDINGS:  # of "..py" there is none, as mmengine sees it
        raise UserError(
            f"The config {str(name)[:200]!r} has no ending that tells its format.",
            fix=f"Rename it to NAME.py; {', '.join(ENDINGS[1:])} and {JSON} are read, too.",
        )
    find_bases_in(CONFIGS)
    try:
        config = Config.fromfile(str(path), import_custom_modules=False)
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            refused = explain(error)  # mmengine writes a temporary copy
            if refused is not None:
                raise refused from error
        raise UserError(
            f"{path} cannot be read as a config: {type(error).__name__}: {error}",
            fix="Correct the file; python tools/doctor.py CONFIG checks it.",
        ) from error
    if with_modules:
        import_modules(config, path)
    ours = (base for base in config_chain(path) if base.is_relative_to(BASES))
    helpers = {key for base in ours for key in assigned_names(base)} - TOP_LEVEL
    for key in helpers - assigned_names(path):
        config.pop(key, None)
    return config


def runtime_config() -> dict[str, Any]:
    """Returns what the default recipe says about any run: hooks, environment, logs."""
    recipe = read_config(BASES / "recipes" / "default.py").to_dict()
    return {key: recipe[key] for key in RUNTIME}


def base_files(path: Path) -> list[Path]:
    """Returns the files that a config names in its ``_base_``."""
    from mmengine.config import Config

    names = Config._get_base_files(str(path))
    return [Path(Config._get_cfg_path(name, str(path))[0]).resolve() for name in names]


def config_chain(path: Path) -> Iterator[Path]:
    """Yields a config and all files that it is made of, each after those that name it."""
    yield path
    for base in base_files(path):
        yield from config_chain(base)


def assigned_names(path: Path) -> set[str]:
    """Returns the names that a Python config assigns at its top."""
    if path.suffix != ".py":
        return set()
    names = set()
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        for target in statement.targets if isinstance(statement, ast.Assign) else ():
            names |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
    return names
