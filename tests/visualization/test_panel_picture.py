"""The drawing: colours, ranges, boxes and bars, and that nothing covers anything."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mmseg_uda.engine.panels import BarsPanel, Boxes, ImagePanel, LabelPanel, MapPanel
from mmseg_uda.visualization import Snapshot, boxes, panel_picture
from mmseg_uda.visualization.canvas import Classes, class_legend, font, heat, shorten

CLASSES = Classes(("road", "car", "traffic light"), ((128, 64, 128), (0, 0, 142), (250, 170, 30)))


@pytest.fixture
def written(monkeypatch):
    """Every text of a picture."""
    texts = []
    write = ImageDraw.ImageDraw.text

    def text(self, place, text, *args, **kwargs):
        texts.append(text)
        write(self, place, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


def draw(*panels, images=1, columns=2, tile=200):
    kept = Snapshot(panels, images, 2 * tile).wait()
    return np.asarray(panel_picture(kept, CLASSES, "a step", images, columns, tile))


def has_color(picture, color):
    return bool((picture == np.array(color, np.uint8)).all(axis=-1).any())


def test_heat_spans_viridis_and_marks_what_is_not_finite():
    rgb = heat(np.array([[0.0, 1.0, np.nan, 5.0]]), 0, 1)
    assert rgb[0, 0].tolist() == [68, 1, 84]
    assert rgb[0, 1].tolist() == rgb[0, 3].tolist() == [253, 231, 37]
    assert rgb[0, 2].tolist() == [128, 128, 128]


def test_a_map_tells_its_range_and_what_lies_beyond(written):
    draw(MapPanel("weights", torch.tensor([[[0.0, 3.0]]]), limits=(0, 2)))
    assert {"weights", "0", "1", "2", "mean 1.5, from 0 to 3"} <= set(written)


def test_without_limits_a_map_spans_its_finite_values(written):
    draw(MapPanel("energy", torch.tensor([[[-4.0, 12.0, float("inf")]]]), limits=None))
    assert {"-4", "4", "12", "mean 4", "not finite"} <= set(written)


def test_the_legend_names_every_class_and_unlabelled_pixels(written):
    picture = draw(LabelPanel("label", torch.zeros(1, 4, 4)))
    assert {*CLASSES.names, "unlabelled"} <= set(written)
    assert has_color(picture, (250, 170, 30))  # which the label does not have


def test_a_long_class_list_is_cut_to_what_occurs(written):
    many = Classes(tuple(f"class {i}" for i in range(150)), tuple((i, i, i) for i in range(150)))
    class_legend(many, {3, 77}, 500)
    assert written == ["class 3", "class 77", "unlabelled"]


def test_every_image_has_its_section_and_a_panel_may_show_fewer(written):
    draw(
        LabelPanel("label", torch.zeros(3, 4, 4), captions=["a.png", "b.png", "c.png"]),
        LabelPanel("only the first", torch.zeros(1, 4, 4)),
        images=2,
    )
    assert [t for t in written if t.startswith("Image ")] == ["Image 1", "Image 2"]
    assert written.count("label") == 2
    assert written.count("only the first") == 1
    assert "b.png" in written and "c.png" not in written


def test_boxes_carry_class_color_name_and_score(written):
    corners = torch.tensor([[0, 2, 2, 12, 12], [1, 0, 0, 9, 9]])
    over = Boxes(corners, classes=torch.tensor([1, 2]), scores=torch.tensor([0.83, 0.5]))
    picture = draw(ImagePanel("boxes", torch.ones(2, 3, 20, 20), boxes=over))
    assert "car 0.83" in written
    assert "traffic light 0.5" not in written  # of the second image
    assert has_color(picture[60:], (0, 0, 142))


def test_rejected_boxes_are_counted(written):
    over = Boxes(
        torch.tensor([[0, 2, 2, 12, 12], [0, 5, 5, 19, 19]]),
        classes=torch.tensor([1, 1]),
        accepted=torch.tensor([True, False]),
    )
    draw(ImagePanel("boxes", torch.ones(1, 3, 20, 20), boxes=over))
    assert "2 boxes, 1 rejected" in written


def test_names_never_cover_each_other_and_the_strongest_come_first(monkeypatch):
    places = []
    place = boxes._write

    def write(draw, picture, rect, text, taken):
        place(draw, picture, rect, text, taken)
        places[:] = taken

    monkeypatch.setattr(boxes, "_write", write)
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 150, (60, 5), generator=generator)
    corners[:, 0] = 0
    corners[:, 3:] = corners[:, 1:3] + torch.randint(2, 50, (60, 2), generator=generator)
    scores = torch.rand(60, generator=generator)
    over = Boxes(corners, classes=torch.zeros(60, dtype=torch.long), scores=scores)
    picture = Image.new("RGB", (200, 200))
    text = boxes.draw_boxes(picture, over, 0, (200, 200), CLASSES)
    assert 5 < len(places) < 60
    assert text == f"60 boxes, {60 - len(places)} names left out"
    for i, a in enumerate(places):
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= 200 and a[3] <= 200
        for b in places[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_bars_show_values_by_class_and_series_by_color(written):
    before, after = torch.tensor([0.25, -0.5, float("nan")]), torch.tensor([0.75, 0.1, 0.0])
    picture = draw(BarsPanel("similarity", {"before": before, "after": after}))
    assert {"road", "car", "traffic light", "before", "after", "0.25", "-0.5", "0.75"} <= set(
        written
    )
    assert "nan" not in written
    assert has_color(picture, (31, 119, 180)) and has_color(picture, (255, 127, 14))


def test_bars_may_have_other_names(written):
    draw(BarsPanel("gate", {"value": torch.tensor([[0.5, 1.0]])}, names=["open", "closed"]))
    assert {"open", "closed"} <= set(written)


def test_long_texts_are_cut_to_their_tile():
    face = font(13)
    name = "a_very_long_image_name_" * 5 + "end.png"
    cut = shorten(name, 200, face)
    assert face.getlength(cut) <= 200
    assert cut.startswith("a_very") and cut.endswith("end.png") and "…" in cut
    assert shorten("short", 200, face) == "short"


def test_tiles_stay_in_their_columns():
    """A title and a caption wider than the tile leave the gap beside it white."""
    long = "w" * 200
    red = torch.zeros(1, 3, 10, 10)
    red[:, 0] = 1
    panel = ImagePanel(long, red, captions=[long])
    picture = draw(panel, panel)
    below_legend = picture[90:]
    gap = below_legend[:, 24 + 200 : 24 + 200 + 18]
    line = (gap == 205).all(axis=(1, 2))  # the section's line crosses it
    assert (gap[~line] == 255).all()


def test_classes_without_a_palette_get_colors_of_their_own():
    classes = Classes.of({"classes": ("a", "b", "c")})
    assert len(set(classes.colors)) == 3
    assert Classes.of(None, 2).names == ("class 0", "class 1")
