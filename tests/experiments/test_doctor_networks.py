"""What a training refuses of a network, the doctor does not call well."""

import pytest
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from nano import nano_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.cfg_options import config_mistake
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.doctor.networks import check_networks
from mmseg_uda.findings import Level

LAST = dict(in_channels=24, in_index=3, channels=8, num_classes=5)
FCN = dict(type="FCNHead", num_convs=1, **LAST)
MASKS = dict(
    type="TorchMask2FormerHead",
    in_channels=[8, 12, 16, 24],
    channels=32,
    mask_channels=32,
    num_queries=4,
    encoder_layers=1,
    decoder_layers=1,
    encoder_ffn=32,
    decoder_ffn=32,
    num_classes=5,
)
FAULTS = {
    "a misspelt type": {**FCN, "type": "FCNHaed"},
    "an unknown option": {**FCN, "chanels": 3},
    "a missing library": dict(type="Mask2FormerHead", in_channels=[8], num_classes=5),
    "another encoder's channels": {**FCN, "in_channels": 23},
    "a loss without weights": {**FCN, "loss_decode": dict(type="LovaszLoss", reduction="none")},
    "masks": MASKS,
    "one channel": {**FCN, "num_classes": 2, "out_channels": 1, "threshold": 0.5},
}


def config(head, uda="SelfTraining"):
    model = {**nano_config(size=(64, 64)), "decode_head": head}
    return dict(model=model, uda=dict(type=uda))


def refusal(head):
    """What the first step of a training says."""
    try:
        trainer = MODELS.build(ConfigDict(type="SelfTraining", segmentor=config(head)["model"]))
        trainer.train().train_step(random_batch(size=(64, 64)), optimizer(trainer))
    except UserError as error:
        return error
    except Exception as error:
        return config_mistake(error)
    return None


@pytest.mark.parametrize("fault", FAULTS)
def test_they_agree(fault):
    told = refusal(FAULTS[fault])
    (finding,) = check_networks([config(FAULTS[fault])])
    assert finding.level is Level.PROBLEM
    head, _, rest = finding.message.partition(" (")  # sizes of maps and devices may differ
    assert told.message.startswith(head)
    assert (finding.fix or None) == told.fix


def test_what_trains_is_well():
    cascade = config([FCN, {**FCN, "type": "OCRHead", "ocr_channels": 4}])
    cascade["model"].update(type="CascadeEncoderDecoder", num_stages=2)
    cascade["model"]["decode_head"][1].pop("num_convs")
    double = dict(type="DAHead", pam_channels=4, **LAST)
    lovasz = FAULTS["a loss without weights"]
    configs = [config(FCN), config(double), cascade, config(MASKS, "Supervised")]
    assert check_networks([*configs, config(lovasz, "Supervised"), dict(alignment={})]) == []
