from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from small import segmentor  # noqa: F401  (registers the networks)

FOLDER = Path(__file__).parents[2] / "configs" / "_base_" / "models"
# parameters of encoder and decoder for 19 classes
COUNTS = {
    "daformer_conv1_mitb5": (81_443_008, 530_707),
    "daformer_sepaspp_mitb5": (81_443_008, 3_712_275),
    "daformer_aspp_mitb5": (81_443_008, 9_969_939),
    "daformer_isa_mitb5": (81_443_008, 1_058_579),
    "daformer_sepaspp_bottleneck_mitb5": (81_443_008, 3_163_155),
    "segformer_mitb3": (44_072_128, 3_164_947),
    "segformer_mitb4": (60_842_688, 3_164_947),
    "segformer_mitb5": (81_443_008, 3_164_947),
    "deeplabv2red_r101v1c": (42_519_392, 700_454),
    "hrda1_daformer_sepaspp_mitb5": (81_443_008, 4_242_982),
}


def build(name):
    with torch.device("meta"):
        return MODELS.build(Config.fromfile(FOLDER / f"{name}.py").model)


def trained(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_config_builds(name):
    model = build(name)
    assert model.num_classes == 19
    if name in COUNTS:
        assert (trained(model.backbone), trained(model.decode_head)) == COUNTS[name]


def test_one_channel_attention_has_fewer_parameters():
    cfg = Config.fromfile(FOLDER / "hrda1_daformer_sepaspp_mitb5.py").model
    cfg.decode_head.attention_classwise = False
    with torch.device("meta"):
        model = MODELS.build(cfg)
    assert trained(model.decode_head.scale_attention) == 526_081
