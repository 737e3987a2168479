"""From a config and a checkpoint to a segmentor that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.config_file import load_network_config
from mmseg_uda.engine.data_config import building_from, carried_config
from mmseg_uda.engine.deployed import deployed_model
from mmseg_uda.engine.released_config import from_released_config
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import (
    is_published,
    load_segmentor_weights,
    meta_of,
    read_checkpoint,
)
from mmseg_uda.models.weights.class_names import stored_classes, tell_other_classes
from mmseg_uda.released import is_released
from mmseg_uda.taxonomy import LAYOUTS, Taxonomy, available_taxonomies, load_taxonomy

TOGETHER = "Get it again: the config and the weights in it do not belong together."


def init_segmentor(
    config: str | Path | Config | None,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    part: str = "model",
) -> Any:
    """Builds the segmentor of a config and fills it from a checkpoint, or a published one.

    The trainer around it (``uda``), data sets and pretrained encoders are not touched; of adapters
    that were published alone, the encoder is looked for by its name. ``from_pretrained`` is another
    name of this function.

    >>> model = init_segmentor("hf://owner/name@v1", device="cuda")  # doctest: +SKIP

    Args:
        config: Config file or config of a training, of a plain mmsegmentation segmentor, or of a
            released checkpoint (mmsegmentation 0.x, Python or JSON). None
            takes the text that trainings and ``tools/publish.py`` store in the checkpoint; as a
            checkpoint is data, that may name registered types only, and imports nothing. Or a
            published model by itself: the folder that ``tools/publish.py`` wrote, or
            ``hf://owner/name`` of the Hugging Face hub, with ``@revision`` for a branch, tag or
            commit.
        checkpoint: Checkpoint of this project, of mmsegmentation, or of a reference repository
            (DAFormer, HRDA, MIC), or a published model. None leaves random weights.
        device: Where the network runs: ``'cpu'``, ``'cuda'``, ``'cuda:1'``. None takes the GPU if
            there is one.
        part: ``'model'`` for the student, ``'ema_model'`` for the teacher.

    Returns:
        The segmentor (an mmseg ``EncoderDecoder``) in eval mode, with ``cfg`` and
        ``dataset_meta`` (classes and palette) as ``mmseg.apis.init_model`` sets them.

    Raises:
        UserError: The config or the checkpoint is missing or damaged, they do not fit together,
            the hub has no such model or cannot be reached, or there is no such device.
    """
    device = checked_device(device)
    if isinstance(config, (str, Path)) and (is_published(config) or Path(config).is_dir()):
        if checkpoint is not None:
            raise UserError(
                f"{config} is a model with weights of its own.",
                fix=f"Leave {checkpoint} out, or give a config file in place of the model.",
            )
        config, checkpoint = None, config
    content = None if checkpoint is None else read_checkpoint(checkpoint)
    cfg, model = network_of(config, content, checkpoint)
    if content is not None and checkpoint is not None:
        fix = TOGETHER if config is None else None
        load_segmentor_weights(model, content, part, checkpoint, fix=fix)
    model.cfg = cfg
    model.dataset_meta = dataset_meta(cfg, content, model.num_classes, str(checkpoint))
    return model.to(device).eval()


from_pretrained = init_segmentor


def network_of(
    config: str | Path | Config | None, content: dict[str, Any] | None, source: Any
) -> tuple[Config, Any]:
    """Returns the config of a network, and the plain segmentor with random weights.

    Args:
        config: Config file or config; None takes the one that the checkpoint carries, in which
            registered types count, and nothing else.
        content: Of the checkpoint, as ``read_checkpoint`` returns; None where there is none.
        source: Where the content came from, for messages.

    Raises:
        UserError: There is no config, or it cannot be built.
    """
    if config is not None:
        cfg = config.copy() if isinstance(config, Config) else load_network_config(config)
        if is_released(cfg):
            cfg = from_released_config(cfg, "The config")
        return cfg, build_segmentor(cfg)
    carried = None if content is None else carried_config(content, source)
    if carried is None:
        raise UserError(
            f"{source} does not say which network it belongs to.",
            fix="Give its config (--config FILE).",
        )
    with building_from(source):
        return carried, build_segmentor(carried, f"The config in {source}")


def build_segmentor(cfg: Config, source: str = "The config") -> Any:
    """Builds the plain segmentor of a config, with random weights.

    Args:
        cfg: The config.
        source: What it is, for messages.

    Raises:
        UserError: A type in the config is registered by no imported module, or is no segmentor.
    """
    init_default_scope(cfg.get("default_scope", "mmseg"))
    try:
        model = MODELS.build(deployed_model(cfg))
    except KeyError as error:
        raise UserError(
            f"{source} has a model that cannot be built: {str(error.args[0]).splitlines()[0]}",
            fix="Give the config file itself; its custom_imports name the modules with your "
            "classes.",
        ) from error
    if not hasattr(model, "num_classes"):
        raise UserError(
            f"{source} has a model of type {type(model).__name__}, which does not segment.",
            fix="Give a segmentor such as EncoderDecoder.",
        )
    return model


def checked_device(device: str | torch.device | None = None) -> torch.device:
    """Returns a device that this machine has; None is its GPU, or the CPU where there is none.

    Raises:
        UserError: No such device, or torch cannot use it.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UserError(
            f"There is no device {device!r}.", fix="Use cpu, cuda or cuda:0."
        ) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "torch sees no CUDA device.",
            fix="Use --device cpu; python tools/doctor.py tells what is wrong with the "
            "installation.",
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"There is no {found}; this machine has {torch.cuda.device_count()} GPUs.",
            fix="Use --device cuda.",
        )
    return found


def taxonomy_of(model: Any) -> Taxonomy | None:
    """Returns the taxonomy that a segmentor predicts in; None where nothing names it.

    The config's metrics or data sets name it; else a taxonomy of the package with the same classes
    is taken.

    Args:
        model: As ``init_segmentor`` returns.
    """
    classes = tuple(model.dataset_meta["classes"])
    names = [*_taxonomy_names(model.cfg), *available_taxonomies()]
    return next((t for t in map(load_taxonomy, names) if t.classes == classes), None)


def dataset_meta(
    cfg: Config,
    checkpoint: dict[str, Any] | None,
    num_classes: int,
    source: str | Path = "the checkpoint",
) -> dict:
    """Returns ``classes`` and ``palette`` of a segmentor.

    They come from the taxonomy of the config's metrics and data sets, else from the checkpoint,
    else from a taxonomy of the package with as many classes; the rest are numbered. A checkpoint
    that names other classes than the config is told.

    Raises:
        UserError: The config names taxonomies, none of them with as many classes as the network.
    """
    named = [load_taxonomy(name) for name in _taxonomy_names(cfg)]
    for taxonomy in named:
        if len(taxonomy) == num_classes:
            tell_other_classes(meta_of(checkpoint or {}), taxonomy.classes, source)
            return taxonomy.metainfo()
    if named:
        sizes = ", ".join(dict.fromkeys(f"'{t.name}' has {len(t)}" for t in named))
        raise UserError(
            f"The network predicts {num_classes} classes; of the config's taxonomies {sizes}.",
            fix="Set test_evaluator.taxonomy, or model.decode_head.num_classes.",
        )
    classes, palette = stored_classes(meta_of(checkpoint or {}))
    if classes and len(classes) == num_classes:
        return {"classes": classes, "palette": palette or numbered_palette(num_classes)}
    for taxonomy in map(load_taxonomy, available_taxonomies()):
        if len(taxonomy) == num_classes:
            return taxonomy.metainfo()
    classes = tuple(f"class {number}" for number in range(num_classes))
    return {"classes": classes, "palette": numbered_palette(num_classes)}


def numbered_palette(count: int) -> list[list[int]]:
    """Returns distinct colours for classes without one, as PASCAL VOC numbers them."""
    colors = []
    for number in range(count):
        color = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                color[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colors.append(color)
    return colors


def _taxonomy_names(cfg: Config) -> list[str]:
    """The taxonomies that metrics and data sets of a config name, the test's first.

    Ours use ``cityscapes19`` unless they name another.
    """
    names = []
    for stage in ("test", "val"):
        dataset = (cfg.get(f"{stage}_dataloader") or {}).get("dataset") or {}
        for item in (cfg.get(f"{stage}_evaluator"), dataset):
            ours = {"StreamingIoU", "TaxonomyDataset", *LAYOUTS}
            if isinstance(item, dict) and item.get("type") in ours:
                names.append(item.get("taxonomy", "cityscapes19"))
    return names
