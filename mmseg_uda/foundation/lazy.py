"""Frozen networks that are loaded at first use and never reach a checkpoint."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pickle
import random
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmseg_uda.archives import DamagedError, check_archive
from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.hub import pretrained_roots, settle_for_cache_when_offline

ARCHIVES = (".bin", ".pt", ".pth")

# Models and tokenizers may come with Python files; a folder of weights is data.
NO_CODE: dict[str, Any] = {"trust_remote_code": False}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_shared: weakref.WeakValueDictionary[tuple, Loaded] = weakref.WeakValueDictionary()


class Loaded:
    """A frozen network with the objects that belong to it (tokenizer, sizes).

    Args:
        module: The network; set to eval mode, without gradients.
        extras: Whatever its adapter needs beside the weights.
    """

    def __init__(self, module: nn.Module, **extras: Any) -> None:
        self.module = module.eval().requires_grad_(False)
        self.extras = extras

    def on(self, device: torch.device) -> nn.Module:
        """The network on ``device`` in eval mode; it is moved only when it is elsewhere."""
        self.module.eval()  # whoever else holds it may have switched dropout on
        if next(self.module.parameters()).device != device:
            self.module.to(device)
        return self.module


class Adapter:
    """What methods ask about images: a detector, a crop classifier, a proposer of regions."""

    def load(self) -> None:
        """Loads the weights, if there are any, now instead of at first use.

        Raises:
            UserError: They are missing or damaged.
        """


class LazyNetwork:
    """Calls ``build`` at first use and shares the result within the process.

    Two adapters with an equal ``key`` (a detector and a crop classifier on the same CLIP) use one
    copy of the weights. Being no ``nn.Module``, it hides the weights from ``state_dict``, the
    optimizer and DDP.

    Args:
        key: Identifies the weights.
        build: Loads them.
    """

    def __init__(self, key: tuple, build: Callable[[], Loaded]) -> None:
        self.key = key
        self.build = build
        self._loaded: Loaded | None = None

    @property
    def built(self) -> bool:
        """Whether the weights have been loaded by this adapter."""
        return self._loaded is not None

    def get(self) -> Loaded:
        """The loaded network."""
        if self._loaded is None:
            loaded = _shared.get(self.key)
            if loaded is None:
                with _untouched_randomness():
                    loaded = self.build()
                _shared[self.key] = loaded
            self._loaded = loaded
        return self._loaded


@contextlib.contextmanager
def _untouched_randomness() -> Iterator[None]:
    # Networks draw random weights before they load theirs. A resumed training builds them at
    # another iteration than an uninterrupted one, so the draws must not be visible.
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)


def check_dtype(dtype: str, owner: str) -> str:
    """Returns ``dtype`` when it is one of ``fp32 | bf16 | fp16``.

    Raises:
        UserError: For any other value.
    """
    require_choice(f"{owner}: dtype", dtype, DTYPES)
    return dtype


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """Autocast region of ``dtype``; fp32 switches a training's own autocast off."""
    return torch.autocast(device.type, dtype=DTYPES[dtype], enabled=dtype != "fp32")


def full_precision(device: torch.device) -> torch.autocast:
    """Region without autocast, whatever the caller's AMP setting is."""
    return torch.autocast(device.type, enabled=False)


def find_checkpoint(name: str) -> tuple[str, bool]:
    """Resolves a checkpoint name to a local folder where there is one.

    Args:
        name: A folder, or a hub name ``owner/model`` that may lie in ``pretrained/model``.

    Returns:
        The folder or the hub name, and whether it is a local folder.

    Raises:
        UserError: When ``name`` is written as a path and no such folder exists.
    """
    path = Path(name).expanduser()
    for candidate in _places(name):
        if candidate.is_dir():
            return str(candidate), True
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise UserError(
            f"no folder {name!r} with the weights of a foundation model.",
            fix="Give a folder that holds config and weights, or a hub name such as "
            "'openai/clip-vit-base-patch32'.",
        )
    if path.parts[0] == "pretrained":
        raise UserError(
            f"no folder {name!r} with the weights of a foundation model.",
            fix="Create it first; python tools/make_miniworld.py writes the "
            "miniature models under pretrained/miniworld.",
        )
    return name, False


def model_config(source: str, local: bool) -> Any:
    """The configuration of a model of the transformers library, whose folder brings data alone.

    Args:
        source: Folder or hub name.
        local: Whether it is a folder.

    Raises:
        UserError: It asks for attention that is fetched from the hub as code.
        ValueError: Its classes are Python files beside it.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source, local_files_only=local, **NO_CODE)
    parts = [config, *(getattr(config, part, None) for part in config.sub_configs)]
    kernels = [getattr(part, "_attn_implementation", None) for part in parts]
    foreign = next((kernel for kernel in kernels if "/" in str(kernel)), None)
    if foreign is not None:
        raise UserError(
            f"config.json of {source!r} asks for code: attn_implementation={foreign!r}.",
            fix="Remove that entry, or fetch the model again.",
        )
    return config


def find_file(name: str) -> Path | None:
    """A file by its path, or by its name in ``pretrained/``; None where there is none."""
    return next((p for p in _places(name) if p.is_file()), None)


def weights_fingerprint(name: str) -> str:
    """Name and content of weights, for keys of caches; nothing is loaded.

    Of a file above 1 MiB, its length and 64 samples of 4 KiB are read.

    Args:
        name: A file, a folder, or a hub name that may lie in ``pretrained/``.

    Returns:
        The last part of the name and 16 hexadecimal digits; the name alone where nothing is local.
    """
    path = Path(name).expanduser()
    places = [p for p in _places(name) if p.exists()]
    if not places:
        return name
    found = [places[0]] if places[0].is_file() else sorted(places[0].rglob("*"))
    files = [f for f in found if f.is_file() and not f.name.startswith(".")]
    # Asked for once per image of a folder: files are read again only when they have changed.
    return f"{path.name}-{_digest(tuple((f, *_state(f)) for f in files))}"


def _places(name: str) -> list[Path]:
    """Where weights of a name are looked for."""
    path = Path(name).expanduser()
    below = Path(*path.parts[1:]) if path.parts[:1] == ("pretrained",) else Path(path.name)
    return [path, *(root / below for root in pretrained_roots())]


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, size, _ in files:
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            for k in range(64 if size > 2**20 else 1):
                stream.seek(k * (size - 4096) // 63 if size > 2**20 else 0)
                digest.update(stream.read(4096 if size > 2**20 else size))
    return digest.hexdigest()[:16]


def check_files(name: str) -> None:
    """Compares the check sums of local weights, which libraries do not look at.

    Args:
        name: As for :func:`weights_fingerprint`.

    Raises:
        UserError: A file is damaged.
    """
    for place in [p for p in _places(name) if p.exists()][:1]:
        for file in [place] if place.is_file() else sorted(place.iterdir()):
            try:
                if file.suffix in ARCHIVES:
                    check_archive(file)
            except (DamagedError, OSError) as error:
                raise UserError(f"{file} is damaged: {error}", fix="Copy it again.") from error


def pickled(source: str, error: pickle.UnpicklingError) -> UserError:
    """What to say of weights that would run code."""
    from mmseg_uda.models.weights.files import no_weights  # brings mmsegmentation along

    return no_weights(source, error)


@contextlib.contextmanager
def loading(name: str, needs: str) -> Iterator[None]:
    """Turns whatever a library raises while it loads ``name`` into a readable error.

    Args:
        name: Folder or hub name.
        needs: The files that a complete folder holds.
    """
    if not any(p.exists() for p in _places(name)):  # the hub will be asked
        settle_for_cache_when_offline()
    check_files(name)
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"loading {name!r} needs a package that is not installed: {error}",
            fix="pip install transformers open_clip_torch",
        ) from error
    except pickle.UnpicklingError as error:
        raise pickled(name, error) from error
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        folder = Path("pretrained") / Path(name).name
        raise UserError(
            f"the foundation model {name!r} cannot be loaded: {reason}",
            fix=f"Put {needs} into the folder {folder} (on a machine with network access: "
            f"hf download {name} --local-dir {folder}), or give another folder in the config.",
        ) from error
