"""Options of networks that would have no effect are refused."""

import pytest
from mmseg.registry import MODELS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.cli import run_tool
from mmseg_uda.engine.optim_constructor import ReferenceNameConstructor
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import BackboneWeights

MLP = dict(type="mlp", act_cfg=None, norm_cfg=None)
FUSION = dict(type="conv", kernel_size=1)
DAFORMER = dict(
    type="DAFormerHead",
    in_channels=[4, 8],
    in_index=[0, 1],
    channels=8,
    num_classes=3,
    decoder_params=dict(embed_dims=8, embed_cfg=MLP, embed_neck_cfg=MLP, fusion_cfg=FUSION),
)
SEGFORMER = dict(
    type="SegFormerHead", in_channels=[4, 8], channels=8, num_classes=3, decoder_params={}
)
DEEPLAB = dict(type="DeepLabV3PlusHead", in_channels=[4, 8], channels=8, num_classes=3)


def with_params(head, **params):
    return {**head, "decoder_params": {**head["decoder_params"], **params}}


@pytest.mark.parametrize(
    ("head", "told"),
    [
        *(({**head, "input_transform": "resize_concat"}, "input_transform='resize_concat'")
          for head in (DAFORMER, SEGFORMER, DEEPLAB)),
        (with_params(DAFORMER, embed_dim=16), "decoder_params.embed_dim"),
        (with_params(DAFORMER, embed_cfg={**MLP, "norm_cfg": dict(type="BN")}), "has no norm_cfg"),
        (with_params(DAFORMER, fusion_cfg=dict(type="id", kernel_size=3)), "kernel_size"),
        (with_params(SEGFORMER, embed_dims=16), "decoder_params.embed_dims"),
    ],
)  # fmt: skip
def test_of_a_head(head, told):
    with pytest.raises(UserError) as caught:
        MODELS.build(head)
    assert told in str(caught.value)


@pytest.mark.parametrize("head", [DAFORMER, SEGFORMER, DEEPLAB])
def test_published_options_are_taken(head):
    assert MODELS.build(head).input_transform == "multiple_select"
    assert MODELS.build({**head, "input_transform": "multiple_select"}) is not None


def test_the_nearest_option_is_named():
    with pytest.raises(UserError) as caught:
        MODELS.build(with_params(DAFORMER, embed_dim=16))
    assert "Did you mean decoder_params.embed_dims?" in caught.value.fix


def test_of_pretrained_weights(capsys):
    from mmengine.registry import WEIGHT_INITIALIZERS

    assert BackboneWeights("a.pth").allow_partial is False

    def main():
        WEIGHT_INITIALIZERS.build(dict(type="BackboneWeights", checkpoint="a", prefix="backbone."))

    with pytest.raises(SystemExit):
        run_tool(main)
    assert "'prefix' in a config of type 'BackboneWeights'" in capsys.readouterr().err


def test_of_parameter_groups():
    wrapper = dict(optimizer=dict(type="AdamW", lr=1))
    with pytest.raises(UserError, match=r"custom_keys\['head'\] has no 'lr_mul'"):
        ReferenceNameConstructor(wrapper, dict(custom_keys=dict(head=dict(lr_mul=10))))


def test_of_the_preprocessor():
    augment = [dict(type="BatchResize")]
    with pytest.raises(UserError, match="batch_augments"):
        MODELS.build(dict(type="DomainDataPreProcessor", size=(8, 8), batch_augments=augment))
