"""What headers of images and labels show: sizes, pixel types, orientation, files that are none."""

import numpy as np
import pytest
from PIL import Image
from two_classes import SIZE, label_of

from mmseg_uda.findings import Level
from mmseg_uda.inspection import collect
from mmseg_uda.inspection.headers import check_headers

COLOURS = np.array([[128, 64, 128, 255], [0, 0, 142, 255]], np.uint8)


class TestSizes:
    """Image and label."""

    def test_a_pair_is_named_with_what_removes_it(self, world):
        world.label("src", 3, label_of(3)[:-2])
        image, label = world.path("src", "images", 3), world.path("src", "labels", 3)
        parts = ("1 of 6 labels have another size", f"{label} has 20x10", f"rm {image} {label}")
        world.only(Level.PROBLEM, *parts)

    def test_of_validation_images_too(self, world):
        world.labels("val", lambda ids: np.kron(ids, np.ones((2, 2), np.uint8)))
        world.only(Level.PROBLEM, "all 3 labels", "has 40x24 pixels, its image 20x12", "nearest")

    def test_margins_leave_nothing_of_a_small_image(self, world):
        small = np.random.default_rng(0).integers(0, 255, (6, 20, 3), np.uint8)
        world.image("tgt", 1, small)
        steps = [dict(type=name) for name in ("LoadFrame", "MarkValid", "PackFields")]
        target = dict(pipeline=steps, crop_pseudo_margins=[3, 3, 0, 0])
        world.only(Level.PROBLEM, "1 of 3 images", "1.png (20x6)", target=target)
        steps[1] = dict(type="MarkValid", margins=[2, 2, 10, 10])
        world.only(Level.PROBLEM, "all 3 images", target=dict(pipeline=steps))

    @pytest.mark.parametrize(
        ("steps", "found"),
        [
            ([dict(type="CropFields", crop_size=(12, 21))], "20x12"),
            (
                [
                    dict(type="ResizeFields", scale=(40, 20)),
                    dict(type="CropFields", crop_size=(21, 30)),
                ],
                "33x20",
            ),
        ],
    )
    def test_a_crop_is_larger_than_its_images(self, world, steps, found):
        target = dict(pipeline=[dict(type="LoadFrame"), *steps, dict(type="PackFields")])
        parts = ("all 3 images", f"is {found} when it is cropped", "padding")
        world.only(Level.WARNING, *parts, target=target)

    @pytest.mark.parametrize(
        "steps",
        [
            [dict(type="CropFields", crop_size=(12, 20))],
            [
                dict(type="ResizeFields", scale=(40, 24)),
                dict(type="CropFields", crop_size=(24, 40)),
            ],
            [
                dict(type="ResizeFields", short_side=(8, 24)),
                dict(type="CropFields", crop_size=(24, 40)),
            ],
        ],
    )
    def test_a_crop_that_fits_or_may_fit(self, world, steps):
        target = dict(pipeline=[dict(type="LoadFrame"), *steps, dict(type="PackFields")])
        assert world.told(target=target) == []

    @pytest.mark.parametrize("wrong", [dict(crop_size=512), dict(), dict(crop_size=(0, 9, 9))])
    def test_a_crop_that_is_none_is_left_to_its_transform(self, world, wrong):
        steps = [dict(type="CropFields", **wrong), dict(type="PackFields")]
        assert world.told(target=dict(pipeline=[dict(type="LoadFrame"), *steps])) == []

    def test_an_image_that_is_hardly_one(self, world):
        world.image("tgt", 1, np.random.default_rng(0).integers(0, 255, (2, 20, 3), np.uint8))
        world.only(Level.WARNING, "1 of 3 images have a side of fewer than 4 pixels", "1.png")


class TestLabelTypes:
    """One id of up to 8 bits per pixel."""

    @pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA")])
    def test_colours(self, world, channels, mode):
        world.labels("src", lambda ids: COLOURS[ids][..., :channels])
        world.only(Level.PROBLEM, f"0.png has pixels of type {mode}", "all 6 labels", "coloured")

    def test_a_single_coloured_one(self, world):
        world.label("src", 5, COLOURS[label_of(5)])
        world.only(Level.PROBLEM, "labels/5.png has pixels of type RGBA", "1 of 6 labels")

    def test_sixteen_bits(self, world):
        world.labels("src", lambda ids: ids.astype(np.uint16))
        world.only(Level.PROBLEM, "0.png has pixels of type I;16", "8 bits")

    def test_jpeg(self, world):
        for number in range(6):
            path = world.path("src", "labels", number)
            Image.open(path).save(path.with_suffix(".jpg"), quality=100)
            path.unlink()
        told = world.told(source=dict(label_suffix=".jpg"))
        assert told[0][0] is Level.WARNING and "all 6 labels are JPEG" in told[0][1]


class TestImageTypes:
    """What a network for colour pictures of 8 bits sees."""

    def test_floating_point(self, world):
        for number in range(3):
            pixels = np.random.default_rng(number).random(SIZE, np.float32)
            Image.fromarray(pixels).save(world.path("tgt", "images", number, ".tif"))
        world.only(
            Level.PROBLEM, "0.tif has pixels of type float32", target=dict(img_suffix=".tif")
        )

    def test_printing_colours(self, world):
        for number in range(3):
            path = world.path("tgt", "images", number)
            Image.open(path).convert("CMYK").save(path.with_suffix(".jpg"))
        world.only(Level.WARNING, "CMYK", "0.jpg", target=dict(img_suffix=".jpg"))

    def test_grey_among_colours(self, world):
        world.image("tgt", 1, Image.open(world.path("tgt", "images", 1)).convert("L"))
        world.only(Level.WARNING, "1 of 3 images are grey, unlike the others", "1.png")

    def test_all_grey(self, world):
        for number in range(3):
            world.image("tgt", number, Image.open(world.path("tgt", "images", number)).convert("L"))
        assert world.told() == []


class TestOrientation:
    """EXIF marks of a camera."""

    def mark(self, world, part, number, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        world.image(part, number, Image.open(world.path(part, "images", number)), exif=exif)

    def test_sizes_tell_where_the_camera_lay_on_its_side(self, world):
        self.mark(world, "src", 0, 6)  # the label has the size of the stored raster
        self.mark(world, "src", 1, 8)
        world.label("src", 1, np.rot90(label_of(1)))  # and of the upright picture
        assert world.told() == []

    def test_nothing_tells_where_it_stood_on_its_head(self, world):
        self.mark(world, "src", 2, 3)
        world.only(Level.WARNING, "images/2.png", "labels/2.png is taken as drawn on the upright")

    def test_without_labels_nothing_is_open(self, world):
        self.mark(world, "tgt", 0, 3)
        assert world.told() == []


class TestNoImages:
    """Files that cannot be read."""

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "has 0 bytes"),
            (b"<html>", "is no image"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ],
    )
    @pytest.mark.parametrize("kind", ["images", "labels"])
    def test_they_are_named(self, world, kind, content, message):
        world.path("val", kind, 1).write_bytes(content)
        world.only(Level.PROBLEM, f"{kind}/1.png", message, f"1 of 3 {kind}")

    def test_missing_ones_are_told_elsewhere(self, world):
        world.path("src", "labels", 4).unlink()
        assert world.told() == []


class TestDepth:
    """Depth files of any size, but of the image's shape."""

    def findings(self, world, size):
        steps = [dict(type="LoadFrame"), dict(type="LoadRemappedDepth"), dict(type="PackFields")]
        item = world.data("tgt", depth_dir="depth", pipeline=steps)
        for number in range(3):
            path = world.root / f"depth/{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)).save(path)
        (one,) = collect([dict(train_dataloader=dict(dataset=dict(target=item)))], [])
        return check_headers(one)

    def test_of_another_size(self, world):
        assert self.findings(world, (6, 10)) == []

    def test_of_another_shape(self, world):
        (finding,) = self.findings(world, (20, 12))
        assert finding.level is Level.PROBLEM and "render_depth.py" in finding.fix
        assert "0.png has 12x20 pixels, its image 20x12" in finding.message
