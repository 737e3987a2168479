"""The name of a training, in the lineage's grammar, from its resolved config.

The names are those of the DAFormer, HRDA, MIC and CSI repositories (without their date and random
suffix), so that runs can be compared with theirs at a glance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DEFAULT_CROP = "512x512"
DEFAULT_RCS_MIN_CROP = 0.5
DEFAULT_LR = 6e-5
HALF_WIDTH = 1280  # pixels of the widest data set at half resolution; more is 'HR'

DATA_SETS = {
    "GTA": "gta",
    "SYNTHIA": "synthia",
    "Cityscapes": "cityscapes",
    "ACDC": "acdc",
    "DarkZurich": "darkzurich",
}
# Components with a place of their own in the grammar. Of others, their role and the options that a
# row changes are part of the name.
ROLES = ("feature_distance", "masking", "relabel", "depth")
BASELINES = {"AdversarialTraining": "advseg", "EntropyMinimization": "minent"}
MASK_TAGS = {
    "separate": "sep",
    "separateaug": "spa",
    "separatesrc": "sps",
    "separatesrcaug": "spsa",
    "separatetrg": "spt",
    "separatetrgaug": "spta",
}
# Of decoders, the first that fits: the name, and what a decoder's config then says.
DECODERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dlv2red", {"type": "DLV2Head", "dilations": (6, 12)}),
    ("dlv2", {"type": "DLV2Head"}),
    ("segformer", {"type": "SegFormerHead"}),
    ("da", {"type": "DAHead"}),
    ("isa", {"type": "ISAHead"}),
    ("dlv3p", {"type": "DepthwiseSeparableASPPHead"}),
    ("upernet_ch256", {"type": "UPerHead", "channels": 256}),
    ("upernet", {"type": "UPerHead"}),
    (
        "daformer_sepaspp_bottleneck",
        {"type": "DAFormerHead", "decoder_params": {"embed_neck_cfg": {"sep": True}}},
    ),
    *(
        (f"daformer_{name}", {"type": "DAFormerHead", "decoder_params": {"fusion_cfg": fusion}})
        for name, fusion in (
            ("sepaspp", {"type": "aspp", "sep": True}),
            ("aspp", {"type": "aspp"}),
            ("isa", {"type": "isa"}),
            ("conv1", {"type": "conv"}),
        )
    ),
)

# Decoders that are made for ResNets; with another encoder behind them its name ends in '-del'.
FOR_RESNETS = ("dlv2red", "dlv2", "da", "isa", "dlv3p")
ENLARGED = {"type": "LevelUpsample", "scales": [4]}  # to a stride of 8
RESNETS = {"ResNetV1c": "r{}v1c", "ResNeXt": "x{}-32", "ResNeSt": "s{}"}

# Applied in this order to the whole name, as the original generators do.
REPLACEMENTS = (
    (".", ""),
    ("True", "T"),
    ("False", "F"),
    ("None", "N"),
    ("[", ""),
    ("]", ""),
    (" ", ""),
    ("/", ""),
    (",", "j"),
    ("cityscapes", "cs"),
    ("synthia", "syn"),
    ("darkzurich", "dzur"),
)


def config_name(config: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> str:
    """Returns the name of a training, without its seed.

    Args:
        config: Resolved config.
        changes: What a row changed in it, by dotted key.
    """
    model, uda, data = config["model"], config["uda"], config["train_dataloader"]["dataset"]
    crop = size(step(data["source"], "CropFields")["crop_size"])
    parts = [domains(config), "" if crop == DEFAULT_CROP else crop]
    parts += [uda_tag(config, changes or {}), architecture(model)]
    parts += ["sl" if model["test_cfg"]["mode"] == "slide" else "", backbone(model)]
    schedule = config["param_scheduler"]
    if isinstance(schedule, Mapping):  # of several optimizers
        schedule = schedule["segmentor"]
    kinds = [scheduler["type"] for scheduler in schedule]
    parts.append("poly10warm" if "LinearLR" in kinds else "poly10")
    if "relabel" in uda:
        phase = uda["relabel"] or {"relabel": (-1, -1)}
        parts.append("rl_{}_to_{}".format(*phase["relabel"]))
    parts += optimizer_tags(config["optim_wrapper"])
    name = "_".join(filter(None, parts))
    for old, new in REPLACEMENTS:
        name = name.replace(old, new)
    return name


def domains(config: Mapping[str, Any]) -> str:
    """Returns '{source}2{target}' with resolution suffixes; the oracle has no source."""
    data, evaluated = config["train_dataloader"]["dataset"], config["val_dataloader"]["dataset"]
    if "targets" in evaluated:  # the first of several
        evaluated = next(iter(evaluated["targets"].values()))
    source, target = domain(data["source"]), domain(data.get("target") or evaluated)
    if is_supervised(config):
        same = data["source"]["type"] == evaluated["type"]
        return f"{'' if same else source.replace('CAug', '')}2{target}"
    return f"{source}2{target}"


def domain(part: Mapping[str, Any]) -> str:
    """Returns the name of a data set as it is used: 'gta16', 'cityscapesHR', 'gtaCAug', ..."""
    name = DATA_SETS[part["type"]] + ("16" if part.get("label_map") == "gta16" else "")
    types = [one["type"] for one in part["pipeline"]]
    name += "CAug" if "PhotoMetricDistortion" in types else ""
    return name + ("HR" if step(part, "ResizeFields")["scale"][0] > HALF_WIDTH else "")


def step(part: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Returns a data set's transform of a type."""
    return next(one for one in part["pipeline"] if one["type"] == kind)


def size(pair: tuple[int, int]) -> str:
    """Returns '{height}x{width}'."""
    return "{}x{}".format(*pair)


def is_supervised(config: Mapping[str, Any]) -> bool:
    """Whether labelled images alone are trained on, without the self-training host."""
    return config["uda"]["type"] == "Supervised"


def uda_tag(config: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Returns the adaptation part of the name, e.g. 'dacs_rcs0.01-2.0_cpl2'."""
    uda, data = config["uda"], config["train_dataloader"]["dataset"]
    parts = [host(config)]
    for role, component in uda.items():
        if role not in ROLES and isinstance(component, Mapping) and "type" in component:
            parts.append(role if role != "subdomains" else ssda_tag(component))
            begin = f"uda.{role}."
            options = {k.removeprefix(begin): v for k, v in changes.items() if k.startswith(begin)}
            parts += [f"{key}{value}" for key, value in options.items()]
    if data.get("rare_class_sampling"):
        sampling = data["rare_class_sampling"]
        token = f"rcs{sampling['class_temp']}"
        if sampling["min_crop_ratio"] != DEFAULT_RCS_MIN_CROP:
            token += f"-{sampling['min_crop_ratio']}"
        parts.append(token)
    if data.get("sync_crop_size"):
        parts.append(f"sf{size(data['sync_crop_size'])}")
    if uda.get("pseudo_weight_ignore_top") or uda.get("pseudo_weight_ignore_bottom"):
        parts.append("cpl")
    if (data.get("target") or {}).get("crop_pseudo_margins") and not is_supervised(config):
        parts.append("cpl2")
    if uda.get("masking"):
        parts.append(masking_tag(uda["masking"]))
    if uda.get("depth"):
        parts.append(depth_tag(uda["depth"]))
    return "_".join(parts)


def ssda_tag(subdomains: Mapping[str, Any]) -> str:
    """Returns 'ssda', or 'ssda_released' for what the released code does."""
    return "ssda_released" if subdomains["weight_map"] == "mixed_alias" else "ssda"


def host(config: Mapping[str, Any]) -> str:
    """Returns 'dacs', 'dacs_fd', 'dacs_a999_fdthings', 'source-only', ..."""
    uda = config["uda"]
    if uda["type"] in BASELINES:
        return BASELINES[uda["type"]]
    if is_supervised(config):
        return "target-only" if domains(config).startswith("2") else "source-only"
    alone = uda.get("source_only", False)
    # Domain generalization: not even images of a target.
    unseen = alone and not config["train_dataloader"]["dataset"].get("target")
    parts = ["dgdacs" if unseen else "dacs"]
    if uda["alpha"] != 0.99 and not alone:  # no teacher
        parts.append(f"a{uda['alpha']}".replace("0.", ""))
    if uda.get("feature_distance"):
        parts.append("fdthings" if uda["feature_distance"]["classes"] else "fd")
    if alone:
        parts.append("srconly")
    return "_".join(parts)


def masking_tag(masking: Mapping[str, Any]) -> str:
    """Returns e.g. 'm64-0.7-spta': block, ratio, own teacher's settings, mode, weight."""
    parts = [f"m{masking['block_size']}-{masking['mask_ratio']}"]
    if masking["alpha"] != "same":
        parts.append(f"a{masking['alpha']}")
    if masking["pseudo_threshold"] != "same":
        parts.append(f"p{masking['pseudo_threshold']}")
    parts.append(MASK_TAGS[masking["mode"]])
    if masking["loss_weight"] != 1:
        parts.append(f"w{masking['loss_weight']}")
    return "-".join(parts)


def depth_tag(depth: Mapping[str, Any]) -> str:
    """Returns e.g. 'cdda0.56-0.54-0.003': thresholds, decay, and what differs from the full method.

    CDDA's own repository has no generator of names.
    """
    numbers = [depth[f"{name}_threshold"] for name in ("reweight", "relabel")]
    parts = ["cdda" + "-".join(map(str, [*numbers, depth["threshold_decay"]]))]
    uses = {"r": "reweight", "s": "replace_source", "g": "guidance"}
    used = "".join(letter for letter, use in uses.items() if depth[use])
    if used != "".join(uses):
        parts.append(used)
    if depth["reweight_mask"] == "first_row":
        parts.append("row")
    if depth["guidance_trigger"] != "any":
        parts.append(depth["guidance_trigger"])
    return "-".join(parts)


def architecture(model: Mapping[str, Any]) -> str:
    """Returns the decoder, behind HRDA's part where there is one: 'hrda1-512-0.1_dlv2red'."""
    head = model["decode_head"]
    name = decoder(model) + ("_nodbn" if head.get("norm_cfg", head) is None else "")
    if head["type"] == "HRDAHead":
        name = "-".join(["hrda1", *_hrda_tags(model, name)]) + f"_{name}"
    return f"sfa_{name}" if _fits(model.get("neck"), ENLARGED) else name


def decoder(model: Mapping[str, Any]) -> str:
    """Returns the name of the decoder alone: 'dlv2red', 'daformer_sepaspp', ..."""
    head = model["decode_head"]
    said = {**head, "type": head.get("single_scale_head", head["type"])}
    return next(name for name, says in DECODERS if _fits(said, says))


def _fits(config: Any, says: Any) -> bool:
    if isinstance(says, Mapping):
        return isinstance(config, Mapping) and all(
            key in config and _fits(config[key], value) for key, value in says.items()
        )
    return bool(config == says)


def _hrda_tags(model: Mapping[str, Any], name: str) -> Iterator[str]:
    """Detail crop and loss weight, and what differs from the published settings."""
    head, divisible = model["decode_head"], model["crop_coord_divisible"]
    yield str(model["hr_crop_size"][0])
    yield f"{head['hr_loss_weight']:g}"
    if model["scales"] == [1, 1]:
        yield "samescale"
    elif model["scales"] != [1, 0.5]:
        yield f"sc{model['scales'][1]}"
    if divisible != (None if name.startswith("dlv2") else 8):
        yield f"grid{divisible}"
    if head.get("fixed_attention") is not None:
        yield "fixedatt"
    if not model.get("hr_slide_overlapping", True):
        yield "nooverlap"
    if not head["attention_classwise"]:
        yield "singleatt"
    if model.get("blur_hr_crop"):
        yield "blurhr"


def backbone(model: Mapping[str, Any]) -> str:
    """Returns 'mitb5', 'r101v1c', ..."""
    config = model["backbone"]
    if config["type"] in RESNETS:
        return RESNETS[config["type"]].format(config["depth"])
    return f"mit{config['variant']}" + ("-del" if decoder(model) in FOR_RESNETS else "")


def optimizer_tags(wrapper: Mapping[str, Any]) -> Iterator[str]:
    """Yields what differs from AdamW at 6e-5 with a decoder ten times as fast."""
    optimizer = wrapper["optimizer"]
    if optimizer["type"] != "AdamW":
        yield optimizer["type"].lower()
    if optimizer["lr"] != DEFAULT_LR:
        yield str(optimizer["lr"])
    head = wrapper.get("paramwise_cfg", {}).get("custom_keys", {}).get("head", {})
    if head.get("lr_mult", 1) == 1:
        yield "pmFalse"
