"""Drill: image files that are damaged without an error, claim too much, or are no files."""

import photographs
import pytest
import torch
from child import end_of, start
from photographs import NO_FILES, encoded, photograph

from mmseg_uda.engine import build_runner

PICTURE = photograph(64, 96)
JPEG, WEBP = encoded("JPEG", PICTURE, quality=90), encoded("WEBP", PICTURE, quality=90)
DAMAGED = {
    "JPEG with a zeroed tail": photographs.zeroed_tail(JPEG),
    "JPEG of 10^9 pixels": photographs.jpeg_claim(30_000, 30_000),
    "JPEG with a noisy tail": photographs.noisy_tail(JPEG),
    "JPEG without its end": photographs.without_end(JPEG),
    "WebP with a zeroed tail": photographs.zeroed_tail(WEBP),
    "PNG of 10^10 pixels": photographs.png_claim(100_000, 100_000),
}
HIDDEN = {
    "JPEG with a hole": photographs.zeroed_middle(JPEG),
    "JPEG cut and closed": photographs.closed_after_cut(JPEG),
    "WebP with a hole": photographs.zeroed_middle(WEBP),
    "WebP with a noisy tail": photographs.noisy_tail(WEBP),
}
# Found by a search through folders, unlike a folder, which is searched itself.
ODD = {put: name for put, name in NO_FILES.items() if put is not photographs.put_folder}


@pytest.mark.parametrize("kind", list(DAMAGED)[:2])
def test_a_training_names_a_damaged_image(world, tmp_path, capfd, kind):
    image = world.target_image(1)
    image.write_bytes(DAMAGED[kind])
    cfg = world.config(tmp_path / "run")
    assert end_of(start(lambda: build_runner(cfg).train()), 60) == 2
    output = capfd.readouterr()
    assert output.err.count(str(image)) == 1 and "Fix: Copy or download" in output.err
    assert "Traceback" not in output.err + output.out


@pytest.mark.parametrize("harm", [DAMAGED, HIDDEN])
def test_the_doctor_finds_damage(world, tmp_path, command, harm):
    world.config(tmp_path / "run").dump(tmp_path / "job.py")
    for i, data in enumerate(harm.values()):
        world.source_image(i).write_bytes(data)
    status, output = command("tools/doctor.py", tmp_path / "job.py", "--decode", "--nproc", "2")
    assert status == 1
    for i in range(len(harm)):
        image = world.source_image(i)
        assert f"✗ {image} cannot be decoded: truncated or damaged" in output


def test_the_inference_goes_on_with_the_other_images(world, tmp_path, command):
    test = [dict(type="LoadFrame"), dict(type="PackFields")]
    cfg = world.config(tmp_path / "run", test_pipeline=test)
    cfg.dump(tmp_path / "job.py")
    weights = build_runner(cfg).model.model.state_dict()
    torch.save(dict(state_dict=weights), tmp_path / "weights.pth")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded("PNG", PICTURE))
    for name, data in DAMAGED.items():
        (folder / f"{name}.jpg").write_bytes(data)
    odd = {put: folder / f"{i}.png" for i, put in enumerate(ODD)}
    for put, path in odd.items():
        put(path)
    call = ("tools/infer.py", tmp_path / "job.py", tmp_path / "weights.pth")
    status, output = command(*call, folder, "--out", tmp_path / "out")
    assert status == 1 and "1 image segmented" in output
    for name in DAMAGED:
        assert f"{name}.jpg failed: " in output
    for put, path in odd.items():
        assert str(path) in output and ODD[put] in output


@pytest.mark.parametrize("put", ODD)
def test_an_image_by_name_that_is_no_file(tmp_path, command, put):
    put(tmp_path / "0.png")
    (tmp_path / "job.py").write_text("")  # found, and not read before the image
    call = ("tools/infer.py", tmp_path / "job.py", tmp_path / "weights.pth", tmp_path / "0.png")
    status, output = command(*call, "--out", tmp_path / "out")
    assert status == 2 and f"{tmp_path / '0.png'} " in output and ODD[put] in output
