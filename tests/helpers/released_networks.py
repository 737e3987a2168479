"""Modules with the parameter names of SRHA's and RobustNet's released networks.

They are put together of torch's and torchvision's parts. Only names and shapes count, and for
DeepLabV3+ the forward pass, written from the papers' description.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

# stem, stages 1 and 4, stage 3: the channels that heads see
CHANNELS = {
    "resnet50": (256, 1024, 2048),
    "resnet101": (256, 1024, 2048),
    "mobilenet_v2": (32, 320, 1280),
    "shufflenet_v2_x1_0": (116, 464, 1024),
}
SRHA = Path(__file__).parents[2] / "configs" / "srha"
CONFIGS = {
    "resnet50": SRHA / "srha_r50-os16_b8-60k_gta2cbm.py",
    "resnet101": SRHA / "srha_r101-os16_b9-60k_gta2cbm.py",
    "mobilenet_v2": SRHA / "srha_mobilenetv2_b8-60k_gta2cbm.py",
    "shufflenet_v2_x1_0": SRHA / "srha_shufflenetv2_b8-60k_gta2cbm.py",
}
MASK2FORMER = SRHA / "srha_r50-m2f_b8-120k_gta2cbm-adamw.py"


def block(before, channels, kernel=1, dilation=1):
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(before, channels, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


class Pyramid(nn.Module):
    def __init__(self, before):
        super().__init__()
        self.features = nn.ModuleList(
            [block(before, 256), *(block(before, 256, 3, rate) for rate in (6, 12, 18))]
        )
        self.img_conv = block(before, 256)


class Wrapped(nn.Module):
    """As RobustNet holds ShuffleNet's first and last part."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def set_stages(network, arch, wrapped=False):
    """Give a module ``layer0`` … ``layer4`` of torchvision's layers, output stride 16."""
    net = getattr(torchvision.models, arch)(weights=None)
    if arch.startswith("resnet"):
        parts = [nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)]
        parts += [net.layer1, net.layer2, net.layer3, net.layer4]
        dilated = [(m, name) for name, m in parts[4].named_modules() if name.endswith("conv2")]
        for conv, _ in dilated:
            conv.stride, conv.dilation, conv.padding = (1, 1), (2, 2), (2, 2)
        parts[4][0].downsample[0].stride = (1, 1)
    elif arch == "mobilenet_v2":
        bounds = [0, 2, 7, 11, 18, 19]
        layers = list(net.features)
        parts = [nn.Sequential(*layers[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    else:
        parts = [nn.Sequential(net.conv1, net.maxpool)]
        parts += [net.stage2, net.stage3, net.stage4, net.conv5]
        if wrapped:
            parts[0], parts[4] = Wrapped(parts[0]), Wrapped(parts[4])
    if not arch.startswith("resnet"):
        for conv in parts[3].modules():
            if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                conv.stride = (1, 1)
                if conv.kernel_size != (1, 1):
                    conv.dilation = conv.padding = (2, 2)
    for number, part in enumerate(parts):
        setattr(network, f"layer{number}", part)


class DeepLab(nn.Module):
    def __init__(self, arch, wrapped=False):
        super().__init__()
        set_stages(self, arch, wrapped)
        low, middle, high = CHANNELS[arch]
        self.aspp = Pyramid(high)
        self.bot_fine = block(low, 48)
        self.bot_aspp = block(1280, 256)
        self.final1 = nn.Sequential(*block(304, 256, 3), *block(256, 256, 3))
        self.final2 = nn.Sequential(nn.Conv2d(256, 19, 1))
        self.dsn = nn.Sequential(
            nn.Conv2d(middle, 512, 3, padding=1),
            nn.BatchNorm2d(512),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(512, 19, 1),
        )

    def forward(self, image):
        def resize(x, size):
            return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

        x = self.layer0(image)
        std, mean = torch.std_mean(x, (2, 3), keepdim=True)
        low = self.layer1((x - mean) / (std + 1e-7))
        x = self.layer4(self.layer3(self.layer2(low)))
        pooled = self.aspp.img_conv(x.mean((2, 3), keepdim=True))
        parts = [resize(pooled, x.shape[2:]), *(branch(x) for branch in self.aspp.features)]
        up = resize(self.bot_aspp(torch.cat(parts, 1)), low.shape[2:])
        x = self.final2(self.final1(torch.cat([self.bot_fine(low), up], 1)))
        return resize(x, image.shape[2:])


class NormedConv(nn.Conv2d):
    """A convolution that owns its norm, as detectron2's."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, bias=False, **kwargs)
        self.norm = nn.GroupNorm(32, self.out_channels)


def holder(**parts):
    module = nn.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


class Mask2Former(nn.Module):
    def __init__(self, levels=3, width=256, queries=100, encoder=6, decoder=9, ffn=(1024, 2048)):
        super().__init__()
        set_stages(self, "resnet50")
        maps = (256, 512, 1024, 2048)
        linear, norm = nn.Linear, nn.LayerNorm
        pixels = nn.Module()
        pixels.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, width, 1), nn.GroupNorm(32, width))
            for before in maps[:0:-1]
        )
        layers = [
            holder(
                self_attn=holder(
                    sampling_offsets=linear(width, 8 * 3 * 4 * 2),
                    attention_weights=linear(width, 8 * 3 * 4),
                    value_proj=linear(width, width),
                    output_proj=linear(width, width),
                ),
                norm1=norm(width),
                linear1=linear(width, ffn[0]),
                linear2=linear(ffn[0], width),
                norm2=norm(width),
            )
            for _ in range(encoder)
        ]
        pixels.transformer = holder(encoder=holder(layers=nn.ModuleList(layers)))
        pixels.transformer.level_embed = nn.Parameter(torch.randn(3, width))
        pixels.mask_features = nn.Conv2d(width, width, 1)
        for level, before in enumerate(maps[:levels], 1):
            setattr(pixels, f"adapter_{level}", NormedConv(before, width, 1))
            setattr(pixels, f"layer_{level}", NormedConv(width, width, 3, padding=1))
        several = [nn.ModuleList() for _ in range(3)]
        for _ in range(decoder):
            attention = [nn.MultiheadAttention(width, 8) for _ in range(2)]
            several[0].append(holder(self_attn=attention[0], norm=norm(width)))
            several[1].append(holder(multihead_attn=attention[1], norm=norm(width)))
            pair = {"linear1": linear(width, ffn[1]), "linear2": linear(ffn[1], width)}
            several[2].append(holder(**pair, norm=norm(width)))
        mask_embed = nn.ModuleList(linear(width, width) for _ in range(3))
        predictor = holder(
            transformer_self_attention_layers=several[0],
            transformer_cross_attention_layers=several[1],
            transformer_ffn_layers=several[2],
            decoder_norm=norm(width),
            query_feat=nn.Embedding(queries, width),
            query_embed=nn.Embedding(queries, width),
            level_embed=nn.Embedding(3, width),
            class_embed=linear(width, 20),
            mask_embed=holder(layers=mask_embed),
        )
        self.m2f_decoder = holder(pixel_decoder=pixels, predictor=predictor)
        self.criterion = nn.Module()
        self.criterion.register_buffer("empty_weight", torch.ones(20))


def released(network, **more):
    """The content of a released file: weights of a network behind DistributedDataParallel."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    return {
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.005, "params": [0, 1]}]},
        "scheduler": {"last_epoch": 3, "lr_lambdas": [None, None]},
        "epoch": 38,
        "mean_iu": 0,
        "command": "--arch network.deepv3.DeepR50V3PlusD --srm --style_elimination",
        **more,
    }
