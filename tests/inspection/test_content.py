"""What a look at some files shows: damage, blank frames, bits that are not used, transparency."""

import cv2
import numpy as np
import pytest

from mmseg_uda.findings import Level
from mmseg_uda.inspection import collect, content
from mmseg_uda.inspection.content import check_depth
from mmseg_uda.inspection.look import chosen
from mmseg_uda.labels import FileReport, Header


def change(world, part, number, function):
    path = str(world.path(part, "images", number))
    cv2.imwrite(path, function(cv2.imread(path)))


@pytest.mark.parametrize("value", [0, 255])
def test_blank_frames(world, value):
    change(world, "tgt", 1, lambda image: image * 0 + value)
    world.only(Level.WARNING, "1 of 3 images looked at show one value only", "1.png")


def test_twelve_bits_in_sixteen(world):
    for number in range(6):
        change(world, "src", number, lambda image: image.astype(np.uint16) * 16)
    world.only(Level.WARNING, "all 6 images", "of 65535", "0.png", "12 bits are used")


def test_a_single_one(world):
    change(world, "tgt", 2, lambda image: image.astype(np.uint16) * 16)
    world.only(Level.WARNING, "1 of 3 images", "2.png")


def test_sixteen_bits(world):
    change(world, "tgt", 0, lambda image: image.astype(np.uint16) * 257)
    assert world.told() == []


def test_values_up_to_one(world):
    for number in range(3):
        change(world, "tgt", number, lambda image: image // 16)
    world.only(Level.WARNING, "hold values up to 15 of 255", "0.png")


@pytest.mark.parametrize(("alpha", "levels"), [(255, []), (100, [Level.WARNING])])
def test_transparency(world, alpha, levels):
    for number in range(3):
        change(
            world, "tgt", number, lambda i: np.dstack([i, np.full(i.shape[:2], alpha, np.uint8)])
        )
    assert [level for level, _ in world.told()] == levels


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_truncated_files(world, kind):
    path = world.path("src", kind, 4)
    path.write_bytes(path.read_bytes()[:-20])
    world.only(Level.PROBLEM, f"{kind}/4.png cannot be decoded", f"1 of 6 {kind}")


class TestDepth:
    """Relative inverse depth of 8 or 16 bits."""

    def findings(self, world, depth):
        steps = [dict(type="LoadFrame"), dict(type="LoadRemappedDepth"), dict(type="PackFields")]
        item = world.data("tgt", depth_dir="depth", pipeline=steps)
        (world.root / "depth").mkdir()
        for number in range(3):
            cv2.imwrite(str(world.root / f"depth/{number}.png"), depth)
        (one,) = collect([dict(train_dataloader=dict(dataset=dict(target=item)))], [])
        return check_depth(one)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_the_whole_range(self, world, dtype):
        depth = np.linspace(0, np.iinfo(dtype).max, 240).reshape(12, 20).astype(dtype)
        assert self.findings(world, depth) == []

    @pytest.mark.parametrize(
        ("depth", "message"),
        [
            (np.arange(240).reshape(12, 20).astype(np.uint16) * 10, "of 65535"),  # millimetres
            (np.arange(240).reshape(12, 20).astype(np.uint8) // 16, "up to 14 of 255"),
            (np.full((12, 20), 7, np.uint8), "one value only"),
            (np.random.randint(0, 255, (12, 20, 3), np.uint8), "false colours"),
        ],
    )
    def test_other_values(self, world, depth, message):
        (finding,) = self.findings(world, depth)
        assert message in finding.message and "0.png" in finding.message


def test_which_files_are_looked_at():
    frame, odd = Header(1000, 1000, "RGB", 8, "PNG"), Header(1000, 1000, "L", 8, "PNG")
    assert chosen([frame] * 20, pixels=10**8) == list(range(20))  # all of few
    assert chosen([frame] * 100, pixels=10**7) == list(range(0, 100, 10))  # spread evenly
    assert len(chosen([frame] * 100, pixels=1)) == 8
    assert 77 in chosen([*[frame] * 77, odd, *[frame] * 22], pixels=10**7)  # and what is unlike


def test_where_all_images_were_decoded_all_are_judged(world, monkeypatch):
    monkeypatch.setattr(content, "chosen", lambda headers: [])
    (one,) = collect([dict(train_dataloader=dict(dataset=dict(target=world.data("tgt"))))], [])
    one.reports = [FileReport("0.png", low=7, high=8), FileReport("1.png", low=0, high=200)]
    (finding,) = content.check_images(one)
    assert "1 of 2 images" in finding.message and "0.png" in finding.message
