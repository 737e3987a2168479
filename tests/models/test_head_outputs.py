"""mmseg's decode heads with several outputs, losses of their own, samplers, and in cascades."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from nano import nano_config, optimizer, random_batch
from small import CHANNELS, hrda, nano, segmentor
from torch import nn

from mmseg_uda.cfg_options import config_mistake
from mmseg_uda.errors import UserError
from mmseg_uda.models.views import full_logits, segmentation_loss, training_forward
from mmseg_uda.self_training import SelfTraining

BN = dict(type="BN")
LAST = dict(in_channels=CHANNELS[3], in_index=3, channels=8, num_classes=5, norm_cfg=BN)
ALL = dict(in_channels=CHANNELS, in_index=[0, 1, 2, 3], channels=8, num_classes=5, norm_cfg=BN)
FCN = dict(type="FCNHead", num_convs=1, **LAST)
KERNELS = dict(
    type="KernelUpdateHead",
    num_classes=5,
    num_ffn_fcs=2,
    num_heads=2,
    num_mask_fcs=1,
    feedforward_channels=8,
    in_channels=8,
    out_channels=8,
    dropout=0.0,
    conv_kernel_size=1,
    ffn_act_cfg=dict(type="ReLU"),
    with_ffn=True,
    feat_transform_cfg=dict(conv_cfg=dict(type="Conv2d"), act_cfg=None),
    kernel_updator_cfg=dict(
        type="KernelUpdator",
        in_channels=8,
        feat_channels=8,
        out_channels=8,
        act_cfg=dict(type="ReLU"),
        norm_cfg=dict(type="LN"),
    ),
)
SEVERAL = {
    "DAHead": dict(type="DAHead", pam_channels=4, **LAST),
    "EncHead": dict(type="EncHead", num_codes=4, **ALL),
    "IterativeDecodeHead": dict(
        type="IterativeDecodeHead",
        num_stages=1,
        kernel_generate_head=FCN,
        kernel_update_head=[KERNELS],
    ),
}
OCR = [FCN, dict(type="OCRHead", ocr_channels=4, **LAST)]


def cascade(heads=OCR):
    cfg = dict(type="CascadeEncoderDecoder", num_stages=len(heads), backbone=nano())
    cfg |= dict(decode_head=heads, train_cfg=dict(), test_cfg=dict(mode="whole"))
    return MODELS.build(ConfigDict(cfg))


def without_dropout(network):
    for module in network.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d)):
            module.p = 0.0
    return network.train()


def samples(label):
    found = [SegDataSample() for _ in label]
    for sample, one in zip(found, label, strict=True):
        sample.gt_sem_seg = PixelData(data=one[None])
    return found


@pytest.fixture
def label():
    label = torch.randint(0, 5, (2, 64, 64), generator=torch.Generator().manual_seed(1))
    label[0, :9] = 255
    return label


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", SEVERAL)
def test_losses_are_those_of_mmseg(name, image, label):
    model = without_dropout(segmentor(SEVERAL[name]))
    losses = segmentation_loss(model, training_forward(model, image), label)
    expected = model.decode_head.loss(model.extract_feat(image), samples(label), {})
    assert losses.keys() == {f"decode.{key}" for key in expected}
    for key, value in expected.items():
        assert torch.allclose(losses[f"decode.{key}"], value, atol=1e-5), key


@pytest.mark.parametrize("name", SEVERAL)
@torch.no_grad()
def test_the_prediction_is_that_of_mmseg(name, image):
    model = segmentor(SEVERAL[name])
    metas = [dict(img_shape=(64, 64))] * 2
    expected = model.decode_head.predict(model.extract_feat(image), metas, {})
    assert torch.allclose(model.encode_decode(image, metas), expected, atol=1e-6)
    # a teacher predicts in training mode
    without_dropout(model)
    assert full_logits(model, image).shape == expected.shape


def test_pixels_are_weighted_in_every_output(image, label):
    model = without_dropout(segmentor(SEVERAL["DAHead"]))
    weight = torch.rand(2, 64, 64)
    output = training_forward(model, image)
    losses = segmentation_loss(model, output, label, weight)
    for name, logits in zip(("pam_cam", "pam", "cam"), output.outputs[""], strict=True):
        up = F.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False)
        pixels = F.cross_entropy(up, label, ignore_index=255, reduction="none")
        expected = (pixels * weight).mean()
        assert torch.allclose(losses[f"decode.{name}.loss_ce"], expected, atol=1e-5)
    assert model.decode_head.sampler is None


def test_a_cascade_is_trained_and_predicts_as_in_mmseg(image, label):
    model = without_dropout(cascade())
    losses = segmentation_loss(model, training_forward(model, image), label)
    expected = model.loss(image, samples(label))
    pairs = {"decode_0.loss_ce": "decode_0.loss_ce", "decode.loss_ce": "decode_1.loss_ce"}
    for ours, theirs in pairs.items():
        assert torch.allclose(losses[ours], expected[theirs], atol=1e-5)
    model.eval()
    metas = [dict(img_shape=(64, 64))] * 2
    assert torch.allclose(full_logits(model, image), model.encode_decode(image, metas), atol=1e-6)


def test_auxiliary_heads_keep_their_own_loss(image, label):
    """STDC's learns edges of the label, not its classes."""
    edges = dict(type="STDCHead", **{**LAST, "num_classes": 2})
    model = without_dropout(segmentor(auxiliary_head=[FCN, edges]))
    losses = segmentation_loss(model, training_forward(model, image), label)
    head = model.auxiliary_head[1]
    expected = head.loss(model.extract_feat(image), samples(label), {})
    assert torch.allclose(losses["aux_1.loss_ce"], expected["loss_ce"], atol=1e-6)
    assert "aux_0.loss_ce" in losses


@pytest.mark.parametrize("name", [*SEVERAL, "OCR"])
def test_self_training(name):
    cfg = {**nano_config(size=(64, 64)), "backbone": nano(), "decode_head": SEVERAL.get(name)}
    if name == "OCR":
        cfg.update(type="CascadeEncoderDecoder", num_stages=2, decode_head=OCR)
    trainer = SelfTraining(ConfigDict(cfg), pseudo_threshold=0.1).train()
    before = {key: value.clone() for key, value in trainer.model.named_parameters()}
    scalars = trainer.train_step(random_batch(size=(64, 64)), optimizer(trainer))
    mixed = {key for key in scalars if key.startswith("mix.") and "loss" in key}
    assert {key.removeprefix("mix.") for key in mixed} == {
        key for key in scalars if "loss" in key and key not in mixed
    }
    values = torch.stack([torch.as_tensor(value) for value in scalars.values()])  # as logs do
    assert values.isfinite().all()
    # mmseg's K-Net has layers that its loss does not reach
    still = [k for k, v in trainer.model.named_parameters() if torch.equal(before[k], v)]
    assert name == "IterativeDecodeHead" or not still
    (prediction,) = trainer.eval().model.predict(torch.randn(1, 3, 64, 64))
    assert prediction.pred_sem_seg.data.shape == (1, 64, 64)


def test_a_sampler_chooses_pixels(image, label):
    hard = dict(type="OHEMPixelSampler", thresh=0.19, min_kept=50)
    model = without_dropout(segmentor({**FCN, "sampler": hard}))
    losses = segmentation_loss(model, training_forward(model, image), label)
    expected = model.decode_head.loss(model.extract_feat(image), samples(label), {})["loss_ce"]
    assert torch.allclose(losses["decode.loss_ce"], expected, atol=1e-6)
    model.decode_head.sampler = None
    assert not torch.allclose(
        segmentation_loss(model, training_forward(model, image), label)["decode.loss_ce"], expected
    )


def test_a_sampler_chooses_pixels_in_both_scales_of_hrda():
    hard = dict(type="OHEMPixelSampler", thresh=0.19, min_kept=20)
    model = without_dropout(hrda(head_options=dict(sampler=hard)))
    output = training_forward(model, torch.randn(2, 3, 64, 64), lambda rows, columns: (0, 0))
    label = torch.randint(0, 5, (2, 64, 64))
    chosen = segmentation_loss(model, output, label)
    model.decode_head.sampler = None
    every = segmentation_loss(model, output, label)
    for name in ("decode.loss_seg", "decode.hr.loss_seg"):
        assert chosen[name] < every[name]


@MODELS.register_module()
class TwoOutputsHead(FCNHead):
    def forward(self, inputs):
        logits = super().forward(inputs)
        return {"logits": logits} if self.channels == 6 else (-logits, logits)


def test_an_unknown_head_with_several_outputs_says_which_predicts(image):
    model = segmentor({**FCN, "type": "TwoOutputsHead"})
    with pytest.raises(UserError, match="TwoOutputsHead returns a tuple") as caught:
        full_logits(model, image)
    assert "prediction_index" in caught.value.fix
    expected = model.decode_head(model.extract_feat(image))[1]
    model.decode_head.prediction_index = 1
    assert torch.equal(
        full_logits(model, image),
        F.interpolate(expected, size=(64, 64), mode="bilinear", align_corners=False),
    )
    with pytest.raises(UserError, match="returns a dict"):
        full_logits(segmentor({**FCN, "type": "TwoOutputsHead", "channels": 6}), image)


class EdgeHead(FCNHead):
    def loss_by_feat(self, seg_logits, batch_data_samples):
        return {"loss_edge": batch_data_samples[0].gt_edge_map.data.sum()}


class PlainLossHead(FCNHead):
    def loss_by_feat(self, seg_logits, batch_data_samples):
        return {"loss_plain": seg_logits.mean()}


def test_losses_that_need_more_or_weight_nothing_are_refused(image, label):
    model = segmentor(FCN).train()
    model.decode_head.__class__ = EdgeHead
    output = training_forward(model, image)
    with pytest.raises(UserError, match="EdgeHead learns from more than labels.*gt_edge_map"):
        segmentation_loss(model, output, label)
    model.decode_head.__class__ = PlainLossHead
    assert "decode.loss_plain" in segmentation_loss(model, output, label)
    with pytest.raises(UserError, match="PlainLossHead knows no weights of pixels"):
        segmentation_loss(model, output, label, torch.ones(2, 64, 64))


@pytest.mark.parametrize("loss", ["LovaszLoss", "DiceLoss", "TverskyLoss"])
def test_losses_without_weights_are_refused_where_pixels_have_weights(loss, image, label):
    options = dict(reduction="none") if loss == "LovaszLoss" else {}
    model = segmentor({**FCN, "loss_decode": [dict(type=loss, **options)]}).train()
    output = training_forward(model, image)
    assert segmentation_loss(model, output, label)
    with pytest.raises(UserError, match=f"{loss} knows no weights of pixels"):
        segmentation_loss(model, output, label, torch.ones(2, 64, 64))


def test_a_head_that_does_not_fit_the_encoder_is_named(image):
    model = segmentor({**FCN, "in_channels": 7})
    with pytest.raises(UserError, match=r"FCNHead cannot decode .*8x16x16.*32x2x2.*channels"):
        full_logits(model, image)


def test_one_channel_is_no_ground_for_pseudo_labels():
    head = {**FCN, "num_classes": 2, "out_channels": 1, "threshold": 0.5}
    cfg = dict(type="SlideEncoderDecoder", backbone=nano(), decode_head=head, train_cfg=dict())
    with pytest.raises(UserError, match="out_channels=1"):
        SelfTraining(ConfigDict({**cfg, "test_cfg": dict(mode="whole")}))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (dict(type="Mask2FormerHead", in_channels=CHANNELS, num_classes=5), "mmdetection"),
        (dict(type="MaskFormerHead", in_channels=CHANNELS, num_classes=5), "TorchMask2Former"),
        ({**FCN, "type": "CCHead"}, "CrissCrossAttention"),
        ({**FCN, "in_channels": CHANNELS}, r"it asserts isinstance\(in_channels, int\)"),
        ({**FCN, "type": "FCNHaed"}, "Did you mean FCNHead"),
    ],
)
def test_what_a_head_lacks_is_one_message(head, message):
    with pytest.raises(Exception) as caught:  # noqa: PT011  (of other libraries)
        segmentor(head)
    error = config_mistake(caught.value)
    assert error is not None
    assert head["type"] in error.message
    pytest.raises(UserError, _raise, error).match(message)


def _raise(error):
    raise error


def test_a_list_of_heads_wants_a_cascade():
    with pytest.raises(UserError, match="lists 2 heads") as caught:
        segmentor([FCN, FCN])
    assert "CascadeEncoderDecoder" in caught.value.fix


def test_single_points_are_no_stage_of_a_cascade(image, monkeypatch):
    """Where its operators are installed, mmseg's PointHead can be built."""
    from mmseg.models.decode_heads import PointHead

    model = cascade()
    monkeypatch.setattr(model.decode_head[1], "__class__", PointHead)
    with pytest.raises(UserError, match="PointHead refines single points"):
        training_forward(model, image)
