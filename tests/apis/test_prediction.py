import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_uda.apis import Augmentations, Predictor, init_segmentor, predict
from mmseg_uda.apis.prediction import load_image
from mmseg_uda.engine.testing import set_inference
from mmseg_uda.engine.testing import test_config as segmentor_config
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import load_segmentor_weights


@pytest.fixture
def model(kind, trained):
    return init_segmentor(*trained(kind), "cpu")


@pytest.fixture
def daformer(trained):
    return init_segmentor(*trained("daformer"), "cpu")


@pytest.fixture
def hrda(trained):
    return init_segmentor(*trained("hrda"), "cpu")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_hand(config, checkpoint, image, scale):
    """Logits of an RGB image at its own size, computed step by step."""
    import cv2
    import torch.nn.functional as F

    model = MODELS.build(segmentor_config(Config.fromfile(config)).model).eval()
    load_segmentor_weights(model, checkpoint)
    factor = min(max(scale) / max(image.shape[:2]), min(scale) / min(image.shape[:2]))
    height, width = (int(side * factor + 0.5) for side in image.shape[:2])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    mean = np.array([123.675, 116.28, 103.53], np.float32)
    std = np.array([58.395, 57.12, 57.375], np.float32)
    inputs = torch.from_numpy((resized.astype(np.float32) - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = model.inference(inputs, [dict(ori_shape=image.shape[:2])])
        return F.interpolate(
            logits, size=image.shape[:2], mode="bilinear", align_corners=False
        ).numpy()[0]


@pytest.mark.parametrize("size", [(40, 80), (137, 95), (200, 110)])
def test_any_size_is_resized_predicted_and_brought_back(kind, trained, size):
    image = noise(*size)
    found = predict(
        init_segmentor(*trained(kind), "cpu"),
        image,
        channel_order="rgb",
        logits=True,
        probabilities=True,
    )
    expected = by_hand(*trained(kind), image, (192, 96))
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)
    assert found.label.dtype == np.uint8 and found.label.shape == size
    assert np.array_equal(found.label, found.logits.argmax(0))
    np.testing.assert_allclose(found.probabilities.sum(0), 1, rtol=1e-5)
    assert np.array_equal(found.probabilities.argmax(0), found.label)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (17, 9)])
@pytest.mark.parametrize("resize", ["config", "none", (64, 64)])
def test_the_smallest_and_the_longest(model, size, resize):
    found = predict(model, noise(*size), resize=resize, probabilities=True)
    assert found.label.shape == size and found.probabilities.shape == (19, *size)
    assert np.isfinite(found.probabilities).all()


def test_own_resolution(trained):
    image = noise(72, 104)
    model = init_segmentor(*trained("hrda"), "cpu")
    found = predict(model, image, channel_order="rgb", resize="none", logits=True)
    expected = by_hand(*trained("hrda"), image, (104, 72))
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_forms_of_an_image(daformer, images):
    path = next(images.rglob("*_leftImg8bit.png"))
    bgr = load_image(path)
    expected = predict(daformer, path).label
    grey = noise(40, 80)[..., 0]
    alpha = np.dstack([bgr, bgr[..., 0]])
    for same in (str(path), bgr, alpha):
        assert np.array_equal(predict(daformer, same).label, expected)
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    assert np.array_equal(predict(daformer, rgb, channel_order="rgb").label, expected)
    assert not np.array_equal(predict(daformer, rgb).label, expected)
    three = np.dstack([grey] * 3)
    assert np.array_equal(predict(daformer, grey).label, predict(daformer, three).label)


def test_photographs_are_turned_upright(daformer, tmp_path):
    from PIL import Image

    upright = noise(60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the pixels rotated by 90° clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "a.png", exif=exif)
    found = predict(daformer, tmp_path / "a.png")
    assert found.label.shape == (60, 40)
    assert np.array_equal(found.label, predict(daformer, upright, channel_order="rgb").label)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_lists_keep_their_order(model, batch_size):
    """Batches form where neighbours are equally large."""
    sizes = [(40, 80), (40, 80), (40, 80), (80, 40), (40, 80), (40, 81)]
    pictures = [noise(*size, seed) for seed, size in enumerate(sizes)]
    found = predict(model, pictures, batch_size=batch_size, logits=True)
    for picture, one in zip(pictures, found, strict=True):
        alone = predict(model, picture, logits=True)
        np.testing.assert_allclose(one.logits, alone.logits, rtol=1e-3, atol=1e-3)
    assert predict(model, []) == []


def test_batches_reach_the_network(daformer, monkeypatch):
    seen = []
    forward = type(daformer).encode_decode
    monkeypatch.setattr(
        type(daformer),
        "encode_decode",
        lambda self, x, metas: (seen.append(len(x)), forward(self, x, metas))[1],
    )
    predict(daformer, [noise(40, 80)] * 5, batch_size=2)
    assert seen == [2, 2, 1]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 2), np.uint8), "no image"),
        (np.zeros((0, 4, 3), np.uint8), "no image"),
        (np.zeros(4, np.uint8), "no image"),
    ],
)
def test_what_is_no_image_is_told(daformer, array, words):
    with pytest.raises(UserError, match=words):
        predict(daformer, array)


def test_hrda_outputs(hrda):
    image = noise(64, 96)
    found = predict(hrda, image, hrda_outputs=True, logits=True)
    plain = predict(hrda, image, logits=True)
    assert np.array_equal(found.label, plain.label)
    assert np.array_equal(found.logits, plain.logits)
    assert hrda.output_mode == "FUSED"
    for mode, labels in (("LR", found.lr), ("HR", found.hr)):
        hrda.output_mode = mode
        assert np.array_equal(labels, predict(hrda, image).label)
    hrda.output_mode = "FUSED"
    assert not np.array_equal(found.lr, found.hr)
    assert found.attention.shape == (64, 96) and found.attention.dtype == np.float32
    assert found.attention.min() > 0 and found.attention.max() < 1


def test_attention_is_that_of_the_network(hrda):
    """Without windows and resizing it is the published Σ A·softmax."""
    set_inference(cfg := hrda.cfg, "whole")
    hrda.test_cfg = cfg.model.test_cfg
    image = noise(64, 96)
    found = predict(hrda, image, channel_order="rgb", hrda_outputs=True, resize="none")
    inputs = hrda.data_preprocessor(
        {"inputs": [torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)]}
    )["inputs"]
    with torch.no_grad():
        expected = hrda.attention_map(inputs)[0, 0].numpy()
    np.testing.assert_allclose(found.attention, expected, rtol=1e-5)


def test_other_networks_have_no_hrda_outputs(daformer):
    with pytest.raises(UserError, match="outputs of HRDA"):
        Predictor(daformer, hrda_outputs=True)


def test_bfloat16_keeps_float32_results(model):
    image = noise(96, 192)
    exact = predict(model, image, probabilities=True)
    rounded = predict(model, image, amp="bf16", probabilities=True, logits=True)
    assert rounded.logits.dtype == rounded.probabilities.dtype == np.float32
    assert not np.array_equal(exact.probabilities, rounded.probabilities)
    assert np.mean(exact.label == rounded.label) > 0.95
    assert len(np.unique(rounded.logits)) > 2**16  # more than bfloat16 can tell apart


def test_precisions_that_do_not_exist(daformer):
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        Predictor(daformer, amp="fp16")
    with pytest.raises(UserError, match="no precision 'int4'"):
        Predictor(daformer, amp="int4")


class TestAugmentations:
    def test_the_mean_of_probabilities_decides(self, model):
        """Over scales and mirror images, each predicted on its own."""
        image = noise(48, 96)
        views = []
        for size in ((96, 48), (192, 96)):
            for flip in (False, True):
                picture = np.ascontiguousarray(image[:, ::-1]) if flip else image
                one = predict(model, picture, resize=size, probabilities=True).probabilities
                views.append(one[..., ::-1] if flip else one)
        options = Augmentations(scales=(0.5, 1.0), flip=True)
        found = predict(model, image, augmentations=options, probabilities=True)
        np.testing.assert_allclose(found.probabilities, np.mean(views, 0), atol=1e-5)
        assert np.array_equal(found.label, found.probabilities.argmax(0))
        assert not np.array_equal(found.label, views[0].argmax(0))

    def test_one_view_is_the_plain_prediction(self, model):
        image = noise(48, 90)
        options = Augmentations(scales=(1.0,), flip=False)
        found = predict(model, image, augmentations=options, probabilities=True)
        plain = predict(model, image, probabilities=True)
        assert np.array_equal(found.probabilities, plain.probabilities)

    def test_batches(self, model):
        pictures = [noise(48, 96, seed) for seed in range(3)]
        options = Augmentations(scales=(0.5, 1.25))
        together = predict(model, pictures, augmentations=options, batch_size=2, probabilities=True)
        for picture, one in zip(pictures, together, strict=True):
            alone = predict(model, picture, augmentations=options, probabilities=True)
            np.testing.assert_allclose(one.probabilities, alone.probabilities, atol=1e-4)

    def test_it_is_mmsegmentations(self, model):
        """The same views merged by SegTTAModel, which keeps all of them."""
        from mmengine.dataset import pseudo_collate
        from mmseg.models.segmentors import SegTTAModel

        predictor = Predictor(model, augmentations=Augmentations((0.5, 1.0)))
        data = pseudo_collate([predictor.prepare(noise(48, 96, s)) for s in range(2)])
        with torch.no_grad():
            ours = predictor.averaging.test_step(data)
            theirs = SegTTAModel(model).test_step(data)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)

    def test_mirror_images_at_own_resolution(self, model):
        image = noise(48, 96)
        options = Augmentations(scales=(1.0,), flip=True)
        found = predict(
            model, image, augmentations=options, resize="none", probabilities=True
        ).probabilities
        mirrored = predict(
            model,
            np.ascontiguousarray(image[:, ::-1]),
            augmentations=options,
            resize="none",
            probabilities=True,
        ).probabilities
        np.testing.assert_allclose(found, mirrored[..., ::-1], atol=1e-5)

    def test_tiny_images_are_padded_and_cut_in_every_view(self, model):
        found = predict(model, noise(5, 40), augmentations=Augmentations(), resize="none")
        assert found.label.shape == (5, 40)

    @pytest.mark.parametrize("scales", [(), (0.0, 1.0), (-1.0,)])
    def test_impossible_scales(self, scales):
        with pytest.raises(UserError, match="positive factors"):
            Augmentations(scales)

    def test_logits_and_hrda_outputs_have_no_mean(self, hrda):
        for options in (dict(logits=True), dict(hrda_outputs=True)):
            with pytest.raises(UserError, match="averages probabilities"):
                Predictor(hrda, augmentations=Augmentations(), **options)

    def test_labels_are_loaded_after_the_views_are_made(self):
        """Predictions are mirrored back; a mirrored label would be compared wrongly."""
        from mmseg_uda.engine.tta import augmented_pipeline

        stock = [
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="Resize", scale=(64, 32), keep_ratio=True),
            dict(type="PackSegInputs"),
        ]
        load, views = augmented_pipeline(stock, Augmentations((0.5, 2.0)))
        assert load["type"] == "LoadImageFromFile"
        kinds = [[t["type"] for t in steps] for steps in views["transforms"]]
        assert kinds == [["Resize"] * 2, ["FlipFields"] * 2, ["LoadAnnotations"], ["PackSegInputs"]]
        assert [t["scale"] for t in views["transforms"][0]] == [(32, 16), (128, 64)]
        with pytest.raises(UserError, match="one resize and one pack"):
            augmented_pipeline(stock[:2], Augmentations())
