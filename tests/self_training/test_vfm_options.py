"""Options of VFM-UDA's recipe: jitter, the teacher's flip, averages and token masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from pinned_random import PinnedRandom
from torchvision.transforms.functional import rgb_to_grayscale
from vfm import golden, vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.records import Normalization
from mmseg_uda.errors import UserError
from mmseg_uda.methods.mic import mask_image
from mmseg_uda.models.losses import PixelCrossEntropy
from mmseg_uda.self_training import EmaTeacher, SelfTraining, StepRandom
from mmseg_uda.self_training.augmentation import STYLES, color_jitter, gaussian_blur
from mmseg_uda.self_training.image_changes import ImageChanges
from mmseg_uda.self_training.options import SelfTrainingOptions
from mmseg_uda.self_training.teacher import batch_share, pseudo_labels

UNIT = Normalization(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
TOKENS = dict(type="MaskedConsistency", unit="tokens", shared_draws=False)


def trainer(segmentor=None, **options):
    torch.manual_seed(0)
    host = SelfTraining(ConfigDict(segmentor or vfm_uda_network(8, 2, 2, 5)), seed=3, **options)
    host.init_weights()
    return host.train()


def test_torchvisions_operations():
    data = golden("jitter")
    rgb = torch.from_numpy(data["rgb"])[None]
    names = ("brightness", "contrast", "saturation", "hue")
    factors = torch.tensor([[float(data[f"factor_{name}"]) for name in names]])
    for i, name in enumerate(names):
        done = STYLES["torchvision"][i](rgb, factors[:, i].view(-1, 1, 1, 1))
        assert np.abs(done[0].numpy() - data[name]).max() < 2e-6, name
    chain = color_jitter(rgb, factors, [(3, 1, 0, 2)], "torchvision")
    assert np.abs(chain[0].numpy() - data["chain_hcbs"]).max() < 2e-6
    # in an image that is large enough for the published kernel, a tenth of it
    image = F.pad(torch.from_numpy(data["blur_in"])[None], (15,) * 4, mode="reflect")
    large = F.pad(image, (0, 110, 0, 110)).expand(3, -1, -1, -1)
    blurred = gaussian_blur(large, torch.from_numpy(data["blur_sigmas"]))
    for i in range(3):
        assert np.abs(blurred[i, :, 15:35, 15:39].numpy() - data[f"blur_{i}"]).max() < 2e-6


def test_images_are_decided_one_by_one():
    changes = ImageChanges(SelfTrainingOptions(augmentation=dict(per_image=True)))
    random = StepRandom(1)
    jittered = [changes.decide(random, 4).jitter for _ in range(500)]
    assert np.mean(jittered) == pytest.approx(0.8, abs=0.03)
    assert any(0 < sum(one) < 4 for one in jittered)
    image = torch.rand(4, 3, 16, 16)
    one = changes.strong(image, UNIT, random, SimpleNamespace(jitter=[True] + [False] * 3, blur=[]))
    assert torch.equal(one[1:], image[1:]) and not torch.equal(one[0], image[0])


def test_weak_jitter():
    changes = ImageChanges(SelfTrainingOptions(weak_jitter=dict(hue=0.0, contrast=0.0)))
    image = torch.rand(64, 3, 4, 4)
    changed = changes.weak(image, UNIT, StepRandom(1))
    same = [torch.equal(a, b) for a, b in zip(image, changed, strict=True)]
    assert 0 < sum(same) < 20
    assert ImageChanges(SelfTrainingOptions()).weak(image, UNIT, StepRandom(1)) is image


def test_the_strong_change_of_sources():
    grey = dict(probability=0.0, grey_probability=1.0, blur_probability=0.0)
    image = UNIT.from_rgb(torch.rand(200, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    changes = ImageChanges(SelfTrainingOptions(weak_jitter=dict(probability=0.0, source=grey)))
    done = changes.source(image, UNIT, StepRandom(1))
    assert torch.allclose(done, rgb_to_grayscale(image, 3), atol=1e-3)
    assert torch.equal(changes.weak(image, UNIT, StepRandom(1)), image)  # a target before mixing
    style = dict(style="torchvision")
    published = ImageChanges(SelfTrainingOptions(augmentation=style, weak_jitter=dict(source={})))
    done = published.source(image, UNIT, StepRandom(1))
    is_grey = (done - done[:, :1]).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert is_grey.float().mean().item() == pytest.approx(0.1, abs=0.06)
    unchanged = [torch.equal(a, b) for a, b in zip(done, image, strict=True)]
    assert np.mean(unchanged) == pytest.approx(0.2 * 0.9 * 0.5, abs=0.06)
    sigma = StepRandom(1).blur_sigma(500, False, torch.device("cpu"), (0.15, 3.0))
    assert sigma.min() >= 0.15 and 2.9 < sigma.max() <= 3


@pytest.mark.parametrize(
    "jitter",
    [dict(probability=1.0, brightness=1.0), dict(probability=0.0, source=dict(probability=1.0))],
)
def test_the_sources_loss_sees_jittered_images_and_the_mix_pastes_clean_ones(jitter):
    host = trainer(weak_jitter=jitter, jitter_probability=0.0)
    seen = []
    forward = host.forward_student
    host.forward_student = lambda image, **kw: seen.append(image.clone()) or forward(image, **kw)
    data = random_batch(0, 2, (64, 64), 5)
    clean = host.read_batches(SimpleNamespace(draws=False), data, True)[0].image
    composed, compose = [], host.compose
    host.compose = lambda source, *rest: composed.append(source.image) or compose(source, *rest)
    host.train_step(data, optimizer(host))
    assert not torch.equal(seen[0], clean)
    assert torch.equal(composed[0], clean)


WEAK = ["jittered_images", "jitter_factors"]
EACH = ["jittered_images", "blurred_images"]
BATCH = ["apply_color_jitter", "apply_blur"]
STRONG = ["jitter_factors", "blur_sigma"]


class Listing(PinnedRandom):
    """Notes the order of draws; everything is jittered and blurred."""

    def __init__(self):
        super().__init__(3)
        self.drawn = []
        for name in {*WEAK, *EACH, *STRONG, "class_ranks", "masked_tokens"}:
            setattr(self, name, self._noting(name, getattr(self, name)))
        for name in BATCH:
            setattr(self, name, self._noting(name, lambda probability: True))

    def _noting(self, name, draw):
        if name in EACH:  # a list of decisions of one image
            draw = lambda batch_size, probability: [True] * batch_size  # noqa: E731
        return lambda *args: self.drawn.append(name) or draw(*args)


@pytest.mark.parametrize("per_image", [True, False])
def test_the_order_of_a_steps_draws(per_image):
    host = trainer(masking=TOKENS, weak_jitter={}, augmentation=dict(per_image=per_image))
    host.random = Listing()
    host.train_step(random_batch(0, 2, (64, 64), 5), optimizer(host))
    if per_image:
        strong = [*EACH, *STRONG]
        expected = [*WEAK, "class_ranks", *WEAK, *strong, *strong, "masked_tokens"]
    else:  # as in DAFormer's code
        strong = [*BATCH, *STRONG]
        expected = [*WEAK, *BATCH, "class_ranks", *WEAK, *STRONG, *strong, "masked_tokens"]
    assert host.random.drawn == expected


class Fixed(torch.nn.Module):
    """Returns given logits, first of the image, then of its mirror image."""

    align_corners = False

    def __init__(self, *logits):
        super().__init__()
        self.logits = list(logits)

    def full_logits(self, image):
        return self.logits.pop(0)


def test_probabilities_of_both_mirror_images_are_averaged():
    one = torch.tensor([5.0, 0, 0]).view(1, 3, 1, 1)
    other = torch.tensor([-9.0, 0, -0.5]).view(1, 3, 1, 1)
    logits = EmaTeacher(Fixed(one, other), 0.9, flip=True).logits(torch.zeros(1, 3, 1, 1))
    pseudo = pseudo_labels(logits, None, batch_share)
    assert pseudo.label.item() == 0
    assert pseudo.confidence.item() == pytest.approx(0.4934, abs=1e-4)
    assert ((one + other) / 2).argmax() == 1


def test_the_mirrored_map_is_mirrored_back():
    z = torch.randn(2, 3, 4, 6)
    logits = EmaTeacher(Fixed(z, z.flip(-1)), 0.9, flip=True).logits(torch.zeros(2, 3, 4, 6))
    assert torch.allclose(logits.softmax(1), z.softmax(1), atol=1e-6)


@pytest.mark.parametrize("own", [True, False])
def test_the_sources_average(own):
    network = vfm_uda_network(8, 2, 2, 5)
    network["decode_head"]["loss_decode"] = dict(type="PixelCrossEntropy", avg_non_ignore=own)
    found = {}
    for average in (None, "labelled", "all"):
        host = trainer(network, source_average=average)
        host.random = PinnedRandom()
        data = random_batch(0, 2, (64, 64), 5)
        for sample in data["source"]["data_samples"]:
            sample.gt_sem_seg.data[..., 16:] = 255
        log = host.train_step(data, optimizer(host))
        found[average] = log["decode.loss_seg"].item(), log["mix.decode.loss_seg"].item()
    assert found["labelled"][0] == pytest.approx(4 * found["all"][0], rel=0.1)
    assert found[None][0] == found["labelled" if own else "all"][0]
    assert found["labelled"][1] == found["all"][1]  # the loss's own
    assert [m.avg_non_ignore for m in host.modules() if isinstance(m, PixelCrossEntropy)]


def test_unlabelled_sources_give_no_loss():
    host = trainer(source_average="labelled")
    data = random_batch(0, 2, (64, 64), 5)
    for sample in data["source"]["data_samples"]:
        sample.gt_sem_seg.data[:] = 255
    assert host.train_step(data, optimizer(host))["decode.loss_seg"].item() == 0


def test_masked_tokens():
    random = StepRandom(0)
    draw = random.masked_tokens(100, 1000, 0.7, torch.device("cpu"))
    assert draw.dtype == torch.bool and draw.float().mean().item() == pytest.approx(0.7, abs=0.01)
    masks = []
    for seed, rank, step in ((0, 0, 5), (0, 0, 5), (0, 1, 5), (0, 0, 6)):
        random = StepRandom(seed, rank)
        random.begin_step(step)
        masks.append(random.masked_tokens(2, 50, 0.7, torch.device("cpu")))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2]) and not torch.equal(masks[0], masks[3])


def test_only_the_masked_pass_masks_tokens_and_trains_the_token():
    host = trainer(masking=TOKENS, teacher_flip=True, pseudo_threshold=0.1)
    masks = []
    host.model.backbone.register_forward_pre_hook(
        lambda _, args: masks.append(args[1] if len(args) > 1 else None)
    )
    before = host.model.backbone.mask_token.clone()
    wrapper = optimizer(host)
    host.draws = True
    host.train_step(random_batch(0, 2, (64, 64), 5), wrapper)
    assert [mask is None for mask in masks] == [True, True, False]
    assert masks[2].shape == (2, 25)
    assert not torch.equal(host.model.backbone.mask_token, before)
    assert "masked image" in [panel.title for panel in host.panels]


@pytest.mark.parametrize("scale", [1.1, 1.0])  # 64 pixels become 70, or 70 all the same
def test_pixels_are_masked_behind_the_resize(scale):
    network = vfm_uda_network(8, 2, 2, 5)
    network["backbone"]["input_scale"] = scale
    masking = dict(type="MaskedConsistency", mode="separatetrg", block_size=16)
    host = trainer(network, masking=masking)
    host.random = PinnedRandom()
    seen = []
    host.model.backbone.patch_embed.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    host.draws = True
    data = random_batch(0, 2, (64, 64), 5)
    read = host.read_batches(SimpleNamespace(draws=False), data, True)[1]
    target, to_rgb = read.image, read.normalization.to_rgb
    host.train_step(data, optimizer(host))
    resized = F.interpolate(target, size=(70, 70), mode="bilinear", align_corners=False)
    kept = host.random.kept_patches(2, 4, 4, 0.7, "cpu")  # round(70 / 16)
    kept = F.interpolate(kept, size=(70, 70), mode="nearest")
    assert len(seen) == 3 and torch.equal(seen[2], resized * kept)
    (shown,) = (panel.image for panel in host.panels if panel.title == "masked image")
    assert torch.equal(shown, to_rgb(target * F.interpolate(kept, size=(64, 64))))


def test_a_frozen_encoder_trains_its_mask_token_alone():
    for masking, trained in ((TOKENS, ["mask_token"]), (None, [])):
        host = trainer(vfm_uda_network(8, 2, 2, 5, trainable="none"), masking=masking)
        names = [n for n, p in host.model.backbone.named_parameters() if p.requires_grad]
        assert names == trained
        host.train_step(random_batch(0, 2, (64, 64), 5), optimizer(host))


def test_blocks_of_a_resized_image():
    data = golden("plusplus")

    class Given(StepRandom):
        def _rand(self, *shape):
            uniform = torch.from_numpy(data["blockmask/uniform"])
            assert shape == tuple(uniform.shape)
            return uniform

    kept = mask_image(torch.ones(1, 3, 1120, 1120), 64, 0.7, Given())
    assert np.array_equal(kept[0, 0, :, 0].byte().numpy(), data["blockmask/kept_first_column"])
    assert kept.mean().item() == pytest.approx(float(data["blockmask/share"]), abs=1e-6)


@pytest.mark.parametrize(
    ("segmentor", "options", "told"),
    [
        (nano_config(), dict(masking=TOKENS), "NanoBackbone"),
        (nano_hrda_config(), dict(masking=TOKENS), "NanoBackbone"),
        (None, dict(masking=dict(TOKENS, unit="patches")), "unit='patches'"),
        (None, dict(augmentation=dict(style="albu")), "augmentation.style='albu'"),
        (None, dict(augmentation=dict(perimage=True)), "augmentation.perimage"),
        (None, dict(weak_jitter=dict(hue=0.7)), "weak_jitter.hue=0.7"),
        (None, dict(weak_jitter=dict(source=dict(hue=0.7))), "weak_jitter.source.hue=0.7"),
        (None, dict(weak_jitter=dict(source=dict(blur_sigma=(3, 1)))), "source.blur_sigma=(3, 1)"),
        (None, dict(weak_jitter=dict(source=dict(blur_sigma=3))), "source.blur_sigma=3"),
        (None, dict(weak_jitter=dict(source="strong")), "weak_jitter.source='strong'"),
        (None, dict(source_average="valid"), "source_average='valid'"),
        (None, dict(teacher_flip=True, subdomains=dict(type="DynamicSubdomains")), "subdomains"),
    ],
)
def test_refused(segmentor, options, told):
    with pytest.raises(UserError) as error:
        trainer(segmentor, **options)
    assert told in f"{error.value} {error.value.fix}"
