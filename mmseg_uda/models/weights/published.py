"""A published model: a folder, here or on the Hugging Face hub, that is read as a checkpoint.

Everything in it is data, the config too, which is parsed and never executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing
from mmseg_uda.hub_repositories import fetch_repository, hub_address
from mmseg_uda.models.weights.files import read_file
from mmseg_uda.regular_files import read_text, require_file
from mmseg_uda.taxonomy import load_taxonomy

WEIGHTS = "model.safetensors"
ADAPTERS = "adapters.safetensors"
CONFIG = "config.py"
TAXONOMY = "taxonomy.yaml"
HEADER = "mmseg_uda"  # of a safetensors file: what the weights say about themselves, as JSON
# ... and what it may hold: the kinds that a reader relies on
HEADER_KEYS = {"run": str, "part": str, "iter": int, "mmseg_uda_version": str, "base": dict}
AGAIN = "Get the folder again: python tools/publish.py CHECKPOINT OUT writes it whole."


def is_published(place: str | Path) -> bool:
    """Whether a place is a published model: an address ``hf://…``, or a folder with its weights.

    Raises:
        UserError: It begins as an address and is none.
    """
    if hub_address(place) is not None:
        return True
    return any(Path(place, name).is_file() for name in (WEIGHTS, ADAPTERS))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Loads a checkpoint or bare weights onto the CPU, as data only.

    Args:
        path: A ``torch.save`` file, ``.safetensors``, or a published model (folder or
            ``hf://owner/name``).

    Raises:
        UserError: It is missing, damaged, incomplete, or holds objects that are no weights.
    """
    if hub_address(path) is None and not Path(path).is_dir():
        return read_file(path)
    folder = local_folder(path)
    return {"meta": published_meta(folder), "state_dict": read_file(_weights_in(folder))}


def local_folder(place: str | Path) -> Path:
    """Returns the folder of a published model; one on the hub is fetched.

    Raises:
        UserError: There is none.
    """
    address = hub_address(place)
    if address is not None:
        place = fetch_repository(address, (WEIGHTS, ADAPTERS, CONFIG, TAXONOMY))
    if not Path(place).is_dir() or not is_published(place):
        kind = f"{place} is a folder, but" if address is None else f"{address} is"
        raise UserError(
            f"{kind} no published model: it holds no {WEIGHTS}.",
            fix="Give a folder that python tools/publish.py CHECKPOINT OUT has written; of a "
            "training's folder give config and checkpoint.",
        )
    return Path(place)


def published_meta(place: str | Path) -> dict[str, Any]:
    """Returns what a published model says about itself, without its tensors.

    Returns:
        As ``meta`` of a checkpoint: ``cfg`` (text of the config), ``dataset_meta``,
        ``taxonomy_file``, and where they are known ``run``, ``part``, ``iter``,
        ``mmseg_uda_version`` and ``base`` (of adapters alone: name and fingerprint of the frozen
        encoder).

    Raises:
        UserError: A file is missing or damaged.
    """
    folder = local_folder(place)
    for name in (CONFIG, TAXONOMY):
        require_file(folder / name, f"{folder} is incomplete: {name} is missing.", fix=AGAIN)
    taxonomy = load_taxonomy(folder / TAXONOMY)
    weights = _weights_in(folder)
    header = _header(weights)
    if weights.name == ADAPTERS and "base" not in header:
        raise UserError(f"{weights} does not say which encoder it belongs to.", fix=AGAIN)
    return {
        **header,
        "cfg": read_text(folder / CONFIG),
        "dataset_meta": taxonomy.metainfo(),
        "taxonomy_file": str(folder / TAXONOMY),
    }


def write_weights(path: Path, weights: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes tensors as safetensors; equal ones give equal files.

    Args:
        path: File to write.
        weights: On any device.
        meta: Plain values that the file carries in its header.
    """
    from safetensors.torch import save

    # own memory for each: some are views of others
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    content = save(tensors, {HEADER: json.dumps(dict(meta), sort_keys=True)})
    # Not by the library, which has an error of its own for a disk that is full.
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _weights_in(folder: Path) -> Path:
    return folder / (WEIGHTS if (folder / WEIGHTS).is_file() else ADAPTERS)


def _header(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
    except Exception as error:  # the tensors tell what is wrong with the file
        read_file(path)
        raise UserError(f"{path} has a damaged header.", fix=AGAIN) from error
    if not isinstance(header, dict):
        raise UserError(f"{path} has a damaged header.", fix=AGAIN)
    known = ((key, header.get(key), kind) for key, kind in HEADER_KEYS.items())
    return {key: value for key, value, kind in known if isinstance(value, kind)}
