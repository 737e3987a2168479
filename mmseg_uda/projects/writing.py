"""The text of a new project's taxonomy and config."""

from __future__ import annotations

import colorsys
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg_uda.experiments.configs import literal
from mmseg_uda.experiments.profiles_networks import BACKBONE, DAFORMER

from .classes import IGNORED, ClassOf, Ids
from .pairs import Images

BASE = "mmseg_uda::daformer/gta2cs_daformer.py"
RAW = "files"  # name of the id map in the taxonomy
CELL = 32  # pixels; crops are multiples of an encoder's coarsest stride
CROP = 512
WARM_UP = 1500  # of 40 000 steps
SMALL_WEIGHTS = "nano_backbone.pth"
GOLDEN = 0.618034  # neighbours in the list get distant hues


@dataclass(frozen=True)
class Plan:
    """What a project's config is made of.

    Attributes:
        name: Of the project.
        source: Labelled images.
        target: Images to adapt to; labels are not used.
        validation: Labelled images of the target domain; None without.
        taxonomy: As the config names it.
        mapped: Whether the labels hold other ids than trainIds.
        things: Whether the taxonomy marks classes of countable objects.
        iterations: Length of the training.
        small: The small encoder of the package in place of MiT-B5, for a CPU.
        encoder: MiT variant, 'b0' to 'b5'.
    """

    name: str
    source: Images
    target: Images
    validation: Images | None
    taxonomy: str
    mapped: bool
    things: bool
    iterations: int
    small: bool = False
    encoder: str = "b5"


def taxonomy_text(
    name: str, classes: Sequence[ClassOf], found: Ids, table: Mapping[int, int]
) -> str:
    """Returns a taxonomy as YAML.

    Args:
        name: Of the label space.
        classes: In the order of their trainIds.
        found: The ids, for comments.
        table: Id in the files -> trainId; empty if the files hold trainIds.
    """
    lines = [
        f"name: {json.dumps(name, ensure_ascii=False)}",
        f"ignore_index: {IGNORED}",
        "# In the order of trainIds. Behind each class: its id in the label files, and how",
        "# frequent that is. Names and colours may be changed; prompts are what a vision-language",
        "# model reads.",
        "classes:",
    ]
    for number, one in enumerate(classes):
        text = json.dumps(one.name, ensure_ascii=False)
        thing = ", thing: true" if one.thing else ""
        lines.append(
            f"  - {{name: {text}, color: {_colour(number)}, group: all{thing}, prompts: [{text}]}}"
            f"  # {one.value}: {found.share(one.value)}"
        )
    if table:
        entries = ", ".join(f"{value}: {number}" for value, number in table.items())
        lines += [
            "# Id in the label files: trainId, or 255 for unlabelled.",
            f"raw_ids: {{{RAW}: {{{entries}}}}}",
        ]
        if len(table) == max(table) + 1:  # with gaps, the start of a training tells of other ids
            lines.append(f"raw_id_ends: {{{RAW}: {max(table)}}}  # higher ids are refused")
    return "\n".join(lines) + "\n"


def config_text(plan: Plan) -> str:
    """Returns a config of DAFormer's self-training on a project's data."""
    scale, crop = _sizes(plan)
    small = ["# The network is small, to try things on a CPU."] if plan.small else []
    parts = [
        f"# {plan.name}: DAFormer's self-training on own data. docs/own_data.md explains it;",
        "# python tools/show_config.py prints what is inherited.",
        *small,
        f'_base_ = ["{BASE}"]',
        f"taxonomy = {_value(plan.taxonomy)}",
        "# Images are resized to scale, (width, height), with their aspect kept; the network is",
        "# trained on crops, (height, width).",
        f"scale, crop = {scale}, {crop}",
        _data_set("source", plan.source, plan, labelled=True),
        _data_set("target", plan.target, plan, labelled=False),
        _loaders(plan),
        _training(plan),
        "del source, target, tested, steps",
    ]
    return "\n".join(parts) + "\n"


def _sizes(plan: Plan) -> tuple[tuple[int, int], tuple[int, int]]:
    """Scale and crop: short sides become the crop's, which no image is enlarged for."""
    sides = [min(part.size) for part in (plan.source, plan.target)]
    side = max(CELL, min(CROP, min(sides) // CELL * CELL))
    width, height = plan.target.size
    long = round(side * max(width, height) / min(width, height))
    return (max(long, side), side), (side, side)


def _files(images: Images, name: str, labelled: bool) -> dict[str, Any]:
    """Options that say where the files lie."""
    folders = [images.folder, images.label_folder] if labelled else [images.folder]
    root = os.path.commonpath([folder.parent for folder in folders if folder is not None])
    options: dict[str, Any] = {
        "type": "TaxonomyDataset",
        "data_root": root,
        "img_dir": os.path.relpath(images.folder, root),
        "img_suffix": images.suffix,
    }
    if labelled:
        options["label_dir"] = os.path.relpath(str(images.label_folder), root)
        options["label_suffix"] = images.label_suffix
    else:
        options["images_only"] = True
    if images.listed and labelled:
        options["file_list"] = f"{{{{ fileDirname }}}}/{name}.txt"
    return options


def _value(value: Any) -> str:
    """A value as configs are written by hand: with double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else literal(value)


def _data_set(name: str, images: Images, plan: Plan, labelled: bool) -> str:
    options = _files(images, name, labelled)
    lines = [f"{name} = dict("]
    lines += [f"    {key}={_value(value)}," for key, value in options.items()]
    lines.append("    taxonomy=taxonomy,")
    if labelled and plan.mapped:
        lines.append(f'    label_map="{RAW}",  # in the taxonomy')
    load = 'dict(type="LoadTrainIds")' if labelled else 'dict(type="MarkValid")'
    most = ", cat_max_ratio=0.75" if labelled else ""
    lines += [
        "    pipeline=[",
        '        dict(type="LoadFrame"),',
        f"        {load},",
        '        dict(type="ResizeFields", scale=scale),',
        f'        dict(type="CropFields", crop_size=crop{most}),',
        '        dict(type="FlipFields", prob=0.5),',
        '        dict(type="PackFields"),',
        "    ],",
        ")",
    ]
    return "\n".join(lines)


def _loaders(plan: Plan) -> str:
    tested = plan.validation or plan.target
    labelled = plan.validation is not None
    files = _files(tested, "validation", labelled)
    lines = ["# What is tested: whole images; labels keep their size.", "tested = dict("]
    lines += [f"    {key}={_value(value)}," for key, value in files.items()]
    lines.append("    taxonomy=taxonomy,")
    if labelled and plan.mapped:
        lines.append(f'    label_map="{RAW}",')
    lines += ["    test_mode=True,", "    pipeline=[", '        dict(type="LoadFrame"),']
    lines.append('        dict(type="ResizeFields", scale=scale),')
    lines += ['        dict(type="LoadTrainIds"),'] if labelled else []
    lines += ['        dict(type="PackFields"),', "    ],", ")", *_workers(plan)]
    lines += [
        "train_dataloader = dict(",
        *(["    batch_size=4,"] if plan.small else []),
        "    **steps,",
        "    dataset=dict(",
        "        source=dict(_delete_=True, **source),",
        "        target=dict(_delete_=True, **target),",
        "        # An image counts for a class that covers more than min_share of it.",
        "        rare_class_sampling=dict(",
        "            _delete_=True, min_share=0.0015, class_temp=0.01, min_crop_ratio=0.5",
        "        ),",
        "    ),",
        ")",
    ]
    if labelled:
        lines += [
            "val_dataloader = test_dataloader = dict(",
            "    **steps, dataset=dict(_delete_=True, **tested)",
            ")",
            "val_evaluator = test_evaluator = dict(taxonomy=taxonomy)",
        ]
    else:
        lines += [
            "# Without labels there is nothing to validate on; tools/test.py --out DIR writes",
            "# predictions. With labels: see tested, val_dataloader and val_evaluator in",
            "# docs/own_data.md.",
            "val_dataloader = val_evaluator = val_cfg = None",
            "test_dataloader = dict(**steps, dataset=dict(_delete_=True, **tested))",
            "test_evaluator = dict(taxonomy=taxonomy, format_only=True, output_dir=None)",
        ]
    return "\n".join(lines)


def _workers(plan: Plan) -> list[str]:
    if plan.small:
        return ["steps = dict(num_workers=0, persistent_workers=False)  # loading costs little"]
    return ["steps = dict(num_workers=4, persistent_workers=True)"]


def _training(plan: Plan) -> str:
    total = plan.iterations
    warm, often = max(1, min(WARM_UP, total // 20)), max(1, total // 10)
    if plan.small:
        weights = f"{{{{ fileDirname }}}}/{SMALL_WEIGHTS}"
        backbone: dict[str, Any] = {"_delete_": True, **BACKBONE}
        backbone["init_cfg"] = {"type": "BackboneWeights", "checkpoint": weights}
        params: Any = DAFORMER["decoder_params"]
        params = {**params, "fusion_cfg": {"_delete_": True, **params["fusion_cfg"]}}
        head = {**DAFORMER, "decoder_params": params}
        network = f"    backbone={literal(backbone, 4)},\n    decode_head={literal(head, 4)},\n"
    elif plan.encoder != "b5":
        init = f'init_cfg=dict(type="BackboneWeights", checkpoint="mit_{plan.encoder}")'
        network = f'    backbone=dict(variant="{plan.encoder}", {init}),\n'
        if plan.encoder == "b0":
            network += "    decode_head=dict(in_channels=[32, 64, 160, 256]),\n"
    else:
        network = ""
    distance = 'dict(classes="things")' if plan.things else "None"
    why = "" if plan.things else "  # for classes with thing: true in the taxonomy"
    lines = [
        "model = dict(",
        "    data_preprocessor=dict(size=crop),",
        f"{network}    # num_classes follows the taxonomy",
        ")",
        "uda = dict(",
        "    taxonomy=taxonomy,",
        f"    feature_distance={distance},{why}",
        "    # Rows of the crop without pseudo-labels: Cityscapes' ego car, which is not here.",
        "    pseudo_weight_ignore_top=0,",
        "    pseudo_weight_ignore_bottom=0,",
    ]
    if plan.small:
        lines += ["    alpha=0.98,", "    pseudo_threshold=0.6,", f"    target_start={often},"]
    lines.append(")")
    if plan.small:
        lines += [
            "optim_wrapper = dict(",
            "    optimizer=dict(lr=3e-3), "
            "paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=1.0)))",
            ")",
        ]
    lines += [
        f"train_cfg = dict(max_iters={total}, val_interval={often})",
        "param_scheduler = [",
        f'    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end={warm + 1}),',
        '    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, '
        f"end={total + 1}),",
        "]",
        "default_hooks = dict(",
        f"    checkpoint=dict(interval={max(1, total // 20)}),",
        f"    logger=dict(interval={max(1, min(50, total // 20))}),",
        ")",
    ]
    return "\n".join(lines)


def _colour(number: int) -> list[int]:
    rgb = colorsys.hsv_to_rgb((0.6 + GOLDEN * number) % 1, 0.75, 0.9 if number % 2 == 0 else 0.6)
    return [round(255 * value) for value in rgb]
