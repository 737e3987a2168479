"""Tiny, randomly initialised SAM networks of the real libraries."""

import functools

import torch

from mmseg_uda.foundation import SegmentAnythingProposer
from mmseg_uda.foundation.lazy import Loaded

# Random networks are unsure of everything; these keep some of their masks.
LOOSE = {
    "points_per_side": 4,
    "points_per_batch": 5,
    "pred_iou_thresh": -10.0,
    "stability_score_thresh": 0.3,
    "stability_score_offset": 0.05,
    "min_mask_region_area": 4,
    "box_nms_thresh": 0.97,
    "crop_nms_thresh": 0.97,
}


def tiny_published_sam():
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    torch.manual_seed(9)
    model = Sam(
        ImageEncoderViT(
            64,
            16,
            3,
            16,
            2,
            2,
            out_chans=16,
            use_rel_pos=True,
            window_size=2,
            global_attn_indexes=(1,),
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        ),  # fmt: skip
        PromptEncoder(16, (4, 4), (64, 64), 4),
        MaskDecoder(
            transformer_dim=16,
            transformer=TwoWayTransformer(2, 16, 2, 16),
            iou_head_hidden_dim=16,
        ),  # fmt: skip
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def with_network(network, **options):
    proposer = SegmentAnythingProposer(**options)
    proposer.backend.network._loaded = Loaded(network)
    return proposer


def sam_2(folder):
    import transformers

    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 2, 2],
        window_size_per_stage=[4, 2, 2, 2],
        window_positional_embedding_background_size=[2, 2],
        global_attention_blocks=[3],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompt = transformers.Sam2PromptEncoderConfig(
        hidden_size=32, image_size=64, patch_size=16, mask_input_channels=4
    )
    decoder = transformers.Sam2MaskDecoderConfig(
        hidden_size=32, mlp_dim=16, num_hidden_layers=2, num_attention_heads=2,
        iou_head_hidden_dim=16,
    )  # fmt: skip
    config = transformers.Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    torch.manual_seed(0)
    model = transformers.Sam2Model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder
