"""Hyper-parameters of the base configs, of the components' defaults and of the final configs."""

import inspect
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.methods.csi import TaxonomyRelabeling
from mmseg_uda.methods.daformer import FeatureDistance
from mmseg_uda.methods.mic import MaskedConsistency
from mmseg_uda.self_training import SelfTraining

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
THINGS = [6, 7, 11, 12, 13, 14, 15, 16, 17, 18]
# Jitter is "0.2" in the published configs, which apply it where a uniform number exceeds that.
DACS = dict(
    type="SelfTraining",
    alpha=0.99,
    pseudo_threshold=0.968,
    jitter_probability=0.8,
    jitter_strength=0.2,
    blur_probability=0.5,
)
DISTANCE = dict(type="FeatureDistance", loss_weight=0.005, classes=THINGS, min_ratio=0.75)
DAFORMER = DACS | dict(alpha=0.999, feature_distance=DISTANCE)
V1 = dict(pseudo_weight_ignore_top=15, pseudo_weight_ignore_bottom=120)
HOSTS = {
    "dacs": DACS,
    "hrda": DAFORMER,
    "daformer": DAFORMER | V1,
    "source_only": DACS | dict(source_only=True),
    "supervised": dict(type="Supervised"),
}
V2 = [30, 240, 30, 30]


@pytest.mark.parametrize("name", HOSTS)
def test_hosts_of_the_default_recipe(name):
    recipe = Config.fromfile(CONFIGS / "_base_/recipes/default.py")
    assert recipe[name].to_dict() == HOSTS[name]


def defaults(function):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def test_defaults_are_the_published_values():
    host = defaults(SelfTraining)
    expected = {**DACS, "alpha": 0.999, "pseudo_share": "batch", "class_pool": "batch"}
    expected |= {"paste_ignored": True, "teacher_norm": "batch", "inference": "student"}
    expected |= {"target_start": 0, "source_only": False}
    expected |= {"pseudo_weight_ignore_top": 0, "pseudo_weight_ignore_bottom": 0}
    del expected["type"]
    assert {name: host[name] for name in expected} == expected
    distance = defaults(FeatureDistance)
    assert list(distance.pop("classes")) == THINGS
    assert distance == {"loss_weight": 0.005, "min_ratio": 0.75}
    assert defaults(MaskedConsistency) == {
        "mode": "separatetrgaug",
        "mask_ratio": 0.7,
        "block_size": 64,
        "loss_weight": 1.0,
        "alpha": "same",
        "pseudo_threshold": "same",
        "weight_main_loss_only": False,
        "unit": "pixels",
        "shared_draws": True,
    }
    relabelling = defaults(TaxonomyRelabeling)
    expected = {"nms": "agnostic", "nms_iou": 0.3, "paste": "rect", "clip_score": "max_prompt"}
    expected |= {"min_box": 10, "candidate_ratio": 0.5, "fallback_runner_up": False, "every_n": 1}
    expected |= {"collect": (-1, -1), "relabel": (-1, -1), "crop_mode": None}
    expected |= {"preprocess": "pil8", "vlm_dtype": "fp32"}
    assert {name: relabelling[name] for name in expected} == expected


def masking(mode, block):
    published = dict(mask_ratio=0.7, loss_weight=1, alpha="same", pseudo_threshold="same")
    return dict(type="MaskedConsistency", mode=mode, block_size=block, **published)


MAPPING = [
    dict(target="terrain", source="vegetation", box_score=0.01, crop_score=0.1),
    dict(target="truck", source="car", box_score=0.1, crop_score=0.5),
    dict(target="train", source=None, box_score=0.1, crop_score=0.5),
]
# config: v1 margins, v2 margins, MIC's mode, RCS's min_crop_ratio
FINAL = {
    "daformer/gta2cs_daformer": (True, None, None, 0.5),
    "daformer/syn2cs_daformer": (True, None, None, 0.5),
    "daformer/cs2acdc_daformer": (True, None, None, 0.5),
    "daformer/cs2dzur_daformer": (True, None, None, 0.5),
    "hrda/gtaHR2csHR_hrda": (False, V2, None, 2.0),
    "hrda/synHR2csHR_hrda": (False, V2, None, 2.0),
    "hrda/csHR2acdcHR_hrda": (False, None, None, 2.0),
    "hrda/csHR2dzurHR_hrda": (False, None, None, 2.0),
    "mic/gtaHR2csHR_mic_hrda": (False, V2, "separatetrgaug", 2.0),
    "mic/synHR2csHR_mic_hrda": (False, V2, "separatetrgaug", 2.0),
    "mic/csHR2acdcHR_mic_hrda": (False, None, "separate", 2.0),
    "mic/csHR2dzurHR_mic_hrda": (False, None, "separate", 2.0),
    "csi/syn2cs_csi_daformer": (True, None, None, 0.5),
    "csi/gta162cs_csi_daformer": (True, None, None, 0.5),
    "csi/syn2acdc_csi_daformer": (True, None, None, 0.5),
    "csi/synHR2csHR_csi_hrda": (False, V2, None, 2.0),
    "csi/gta16HR2csHR_csi_hrda": (False, V2, None, 2.0),
    "csi/synHR2acdcHR_csi_hrda": (False, V2, None, 2.0),
    "csi/synHR2csHR_csi_mic": (False, V2, "separate", 2.0),
    "csi/gta16HR2csHR_csi_mic": (False, V2, "separate", 2.0),
    "csi/synHR2acdcHR_csi_mic": (False, V2, "separate", 2.0),
}


@pytest.mark.parametrize("name", FINAL)
def test_final_configs(name):
    rows, margins, mode, min_crop = FINAL[name]
    config = plain_config(CONFIGS / f"{name}.py")
    uda = dict(config["uda"])
    relabel = uda.pop("relabel", None)
    uda.pop("taxonomy", None)
    if name.startswith("csi/"):
        assert relabel["collect"] == (7999, 11999) and relabel["relabel"][0] == 11999
        assert relabel["mapping"] == MAPPING
        # Nothing else deviates from the defaults, which are the published values.
        assert set(relabel) <= {
            *("type", "taxonomy", "mapping", "collect", "relabel", "detector", "classifier")
        }
        assert relabel["detector"] == dict(type="OwlDetector", checkpoint="owlvit")
        assert relabel["classifier"]["checkpoint"] == "openai/clip-vit-base-patch32"
    else:
        assert relabel is None
    expected = DAFORMER | (V1 if rows else {})
    if mode is not None:
        expected = expected | dict(masking=masking(mode, 64))
    assert uda == expected
    data = config["train_dataloader"]["dataset"]
    assert data["rare_class_sampling"] == {
        "min_pixels": 3000,
        "class_temp": 0.01,
        "min_crop_ratio": min_crop,
    }
    assert data["target"].get("crop_pseudo_margins") == margins
    assert config["train_dataloader"]["batch_size"] == 2
    assert config["train_cfg"]["max_iters"] == 40000
    assert config["train_cfg"]["val_interval"] == 4000
    # mmengine's last step of a schedule is its end - 1
    ends = [1500, 40000] if name.startswith("csi/") else [1501, 40001]
    assert [s["end"] for s in config["param_scheduler"]] == ends
    if "HR2" in name:
        model = config["model"]
        head = model["decode_head"]
        assert (model["scales"], model["hr_crop_size"]) == ([1, 0.5], (512, 512))
        assert (model["feature_scale"], model["crop_coord_divisible"]) == (0.5, 8)
        assert (head["hr_loss_weight"], head.get("lr_loss_weight", 0)) == (0.1, 0)
        assert head["attention_classwise"] and "fixed_attention" not in head
        assert model["hr_slide_inference"] and model.get("hr_slide_overlapping", True)
        assert model["test_cfg"]["mode"] == "slide"
        assert tuple(model["test_cfg"]["crop_size"]) == (1024, 1024)
        assert tuple(model["test_cfg"]["stride"]) == (512, 512)
    else:
        assert config["model"]["test_cfg"]["mode"] == "whole"
