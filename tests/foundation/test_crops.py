import pytest
import torch
import torch.nn.functional as F

from mmseg_uda.foundation.crops import crop_boxes, resize_images

# One wide, one tall, one square, one enlarged and one whole-image box of image 1, 0, 0, 1, 0.
BOXES = torch.tensor(
    [[3, 5, 60, 30], [0, 0, 20, 47], [10, 8, 34, 32], [7, 9, 12, 14], [0, 0, 64, 48]]
)
INDEX = torch.tensor([1, 0, 0, 1, 0])


@pytest.fixture
def images():
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def processed(processor, images, size=16):
    crops = [images[i, :, y0:y1, x0:x1] for (x0, y0, x1, y1), i in zip(BOXES, INDEX, strict=True)]
    options = {
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
        "do_rescale": False,
        "do_normalize": False,
    }
    batch = [processor(**options)(crop, return_tensors="pt").pixel_values[0] for crop in crops]
    return torch.stack(batch)


def test_center_pil8_is_clips_published_preprocessing(images):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    ours = crop_boxes(images, BOXES, INDEX, 16, "center", "pil8")
    torch.testing.assert_close(ours, processed(CLIPImageProcessorPil, images), atol=1e-6, rtol=0)


def test_center_tensor_is_the_antialiased_bicubic_filter(images):
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    ours = crop_boxes(images, BOXES, INDEX, 16, "center", "tensor")
    torch.testing.assert_close(ours, processed(CLIPImageProcessor, images), atol=1e-5, rtol=0)


def test_stretch_tensor_equals_interpolate(images):
    ours = crop_boxes(images, BOXES, INDEX, 16, "stretch", "tensor")
    for crop, (x0, y0, x1, y1), i in zip(ours, BOXES, INDEX, strict=True):
        expected = F.interpolate(
            images[i, None, :, y0:y1, x0:x1], (16, 16), mode="bicubic", antialias=True
        )
        torch.testing.assert_close(crop, expected[0], atol=1e-5, rtol=0)


def test_square_pad_tensor_equals_padding_then_resizing(images):
    fill = (0.1, 0.2, 0.3)
    ours = crop_boxes(images, BOXES, INDEX, 16, "square_pad", "tensor", fill)
    for crop, (x0, y0, x1, y1), i in zip(ours, BOXES.tolist(), INDEX, strict=True):
        side = max(x1 - x0, y1 - y0)
        square = torch.tensor(fill).view(1, 3, 1, 1).expand(1, 3, side, side).clone()
        left, top = (side - (x1 - x0)) // 2, (side - (y1 - y0)) // 2
        square[..., top : top + y1 - y0, left : left + x1 - x0] = images[i, :, y0:y1, x0:x1]
        expected = F.interpolate(square, (16, 16), mode="bicubic", antialias=True)
        torch.testing.assert_close(crop, expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["center", "square_pad", "stretch"])
def test_eight_bits_and_floats_agree_on_a_smooth_image(mode):
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 48, 64)
    eight = crop_boxes(ramp, BOXES, torch.zeros(5).long(), 16, mode, "pil8", (0.5, 0.5, 0.5))
    floats = crop_boxes(ramp, BOXES, torch.zeros(5).long(), 16, mode, "tensor", (0.5, 0.5, 0.5))
    assert (eight - floats).abs().max() < 3 / 255


@pytest.mark.parametrize("resample", ["pil8", "tensor"])
def test_no_box_gives_an_empty_batch(images, resample):
    crops = crop_boxes(images, BOXES[:0], INDEX[:0], 16, "center", resample)
    assert crops.shape == (0, 3, 16, 16)


def test_pil8_truncates_to_eight_bits():
    image = torch.full((1, 3, 4, 4), 10.9 / 255)
    assert resize_images(image, (8, 8), "pil8").mul(255).unique().tolist() == [10.0]
