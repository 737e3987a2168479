"""The stages on a toy world: what is written, kept, done again, and reported."""

import json

import numpy as np
import pytest
import toy_alignment as toy
from PIL import Image

from mmseg_uda.errors import UserError

STAGES = ("propose", "predict", "score", "relabel")


@pytest.fixture
def world(tmp_path):
    return toy.write_world(tmp_path / "world")


def labels(out, name):
    return np.asarray(Image.open(out / "labels" / f"{name}.png"))


def test_a_toy_image_gets_the_labels_written_by_hand(world, tmp_path):
    summary = toy.run_all(world, tmp_path / "out")
    # frame_1 shows red, white, green, blue; the source knows ground and thing.
    found = labels(tmp_path / "out", "town/frame_1")
    assert found[::32, ::32].tolist() == [[0, 1], [2, 3]]
    assert np.array_equal(found, np.kron([[0, 1], [2, 3]], np.ones((32, 32), int)))
    assert summary["alignment"]["masks"] == 16
    assert summary["alignment"]["covered"] == 1
    assert summary["alignment"]["switched"] == 0.5
    assert summary["alignment"]["pixels"] == dict.fromkeys(toy.COLORS, 4 * 32 * 32)
    confidence = np.asarray(Image.open(tmp_path / "out/confidence/town/frame_1.png"))
    assert confidence.dtype == np.uint8
    assert confidence.min() > 0.6 * 255


def test_every_image_has_its_statistics(world, tmp_path):
    toy.run_all(world, tmp_path / "out", threshold=1.0)
    lines = (tmp_path / "out/statistics.jsonl").read_text().splitlines()
    rows = {row["name"]: row for row in map(json.loads, lines)}
    assert set(rows) == {"frame_0", "frame_2", "town/frame_1", "town/frame_3"}
    row = rows["town/frame_1"]
    assert (row["masks"], row["covered"], row["switched"]) == (16, 1.0, 0.0)
    assert row["mean_probability"] > 0.6
    assert row["pixels"] == {"ground": 2048, "thing": 2048}


def test_threshold_one_keeps_every_default(world, tmp_path):
    toy.run_all(world, tmp_path / "out", threshold=1.0)
    assert np.array_equal(labels(tmp_path / "out", "frame_0"), 2 * toy.halves())
    assert not np.asarray(Image.open(tmp_path / "out/confidence/frame_0.png")).any()


def test_no_region_means_the_default_layer_and_no_call_of_the_scorer(world, tmp_path):
    class Nothing(toy.GridProposer):
        def propose(self, image, labels=None, name=None):
            return super().propose(image, labels, name).select([])

    summary = toy.run_all(world, tmp_path / "out", proposer=Nothing())
    assert np.array_equal(labels(tmp_path / "out", "frame_0"), 2 * toy.halves())
    assert summary["image_encoder"] == {"calls": 0, "crops": 0}
    assert summary["text_encoder"] == {"calls": 0, "prompts": 0}


def test_a_second_run_does_nothing(world, tmp_path):
    out = tmp_path / "out"
    toy.run_all(world, out)
    before = toy.files(out, *STAGES, "labels", "confidence")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    summary = toy.run_all(world, out)
    for stage in STAGES:
        assert (summary["stages"][stage]["done"], summary["stages"][stage]["skipped"]) == (0, 4)
    assert toy.files(out, *STAGES, "labels", "confidence") == before
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}


def test_threshold_and_context_names_need_no_image_encoder(world, tmp_path):
    first = toy.run_all(world, tmp_path / "a")
    assert first["image_encoder"]["calls"] == 8  # 4 images of 16 regions, 128 crops per pass
    again = toy.run_all(world, tmp_path / "a", threshold=0.3)
    assert again["image_encoder"] == {"calls": 0, "crops": 0}
    assert again["text_encoder"]["calls"] == 0
    assert again["stages"]["score"]["skipped"] == again["stages"]["relabel"]["done"] == 4
    toy.run_all(world, tmp_path / "b", threshold=0.3)
    assert toy.files(tmp_path / "a", *STAGES, "labels") == toy.files(
        tmp_path / "b", *STAGES, "labels"
    )

    contexts = {**toy.TAXONOMY["context"], "sign": ["sign", "board"]}
    changed = toy.taxonomy(world, context=contexts)
    renamed = toy.run_all(world, tmp_path / "a", taxonomy_map=changed)
    assert renamed["image_encoder"] == {"calls": 0, "crops": 0}
    assert renamed["text_encoder"] == {"calls": 1, "prompts": 5}
    assert renamed["stages"]["relabel"]["done"] == 4


@pytest.mark.parametrize("change", [dict(fusion="none"), dict(fusion="mean", renormalize=True)])
def test_another_fusion_needs_no_image_encoder_either(world, tmp_path, change):
    toy.run_all(world, tmp_path / "a")
    assert toy.run_all(world, tmp_path / "a", **change)["image_encoder"]["calls"] == 0
    toy.run_all(world, tmp_path / "b", **change)
    assert toy.files(tmp_path / "a", "relabel") == toy.files(tmp_path / "b", "relabel")


def test_fused_features_take_a_third_and_fix_the_fusion(world, tmp_path):
    toy.run_all(world, tmp_path / "a")
    toy.run_all(world, tmp_path / "b", features="fused")
    with np.load(tmp_path / "b/score/frame_0.npz") as record:
        assert set(record.files) == {"fingerprint", "majority", "masked"}
    assert toy.files(tmp_path / "a", "labels") == toy.files(tmp_path / "b", "labels")
    again = toy.run_all(world, tmp_path / "b", features="fused", fusion="none")
    assert again["image_encoder"]["calls"] == 8


def test_a_changed_option_does_its_stage_and_the_later_ones_again(world, tmp_path):
    toy.run_all(world, tmp_path / "a")
    summary = toy.run_all(world, tmp_path / "a", context_offsets=(0, 5))
    done = {stage: report["done"] for stage, report in summary["stages"].items()}
    assert done == {"propose": 0, "predict": 0, "score": 4, "relabel": 4}
    toy.run_all(world, tmp_path / "b", context_offsets=(0, 5))
    assert toy.files(tmp_path / "a", *STAGES) == toy.files(tmp_path / "b", *STAGES)


def test_a_changed_image_is_done_again(world, tmp_path):
    toy.run_all(world, tmp_path / "a")
    image = toy.picture(toy.WHITE, toy.WHITE, toy.BLUE, toy.BLUE)
    Image.fromarray(image).save(world / "images/frame_2.png")
    summary = toy.run_all(world, tmp_path / "a")
    assert {report["done"] for report in summary["stages"].values()} == {1}
    assert set(np.unique(labels(tmp_path / "a", "frame_2"))) == {1, 3}


def test_strict_refuses_to_replace_results_of_other_settings(world, tmp_path):
    toy.run_all(world, tmp_path / "a")
    with pytest.raises(UserError, match="other settings"):
        toy.run_all(world, tmp_path / "a", threshold=0.3, strict=True)
    assert toy.run_all(world, tmp_path / "a", strict=True)["failed"] == 0


def test_a_deleted_file_is_written_again_and_overwrite_does_everything(world, tmp_path):
    out = tmp_path / "a"
    toy.run_all(world, out)
    (out / "labels/frame_0.png").unlink()
    assert toy.run_all(world, out)["stages"]["relabel"]["done"] == 1
    assert (out / "labels/frame_0.png").is_file()
    summary = toy.run_all(world, out, overwrite=True)
    assert {report["done"] for report in summary["stages"].values()} == {4}


@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_record_is_made_again(world, tmp_path, stage):
    out = tmp_path / "a"
    toy.run_all(world, out)
    path = out / stage / "frame_0.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    summary = toy.run_all(world, out)
    assert summary["stages"][stage]["done"] == 1
    assert summary["failed"] == 0
    assert path.read_bytes() == whole


def test_a_truncated_temporary_file_is_ignored(world, tmp_path):
    out = tmp_path / "a"
    toy.run_all(world, out)
    whole = (out / "propose/frame_0.npz").read_bytes()
    (out / "propose/.frame_0-abc.npz").write_bytes(whole[:40])
    (world / "images/.frame_9-abc.png").write_bytes(b"half an image")
    summary = toy.run_all(world, out)
    assert summary["images"] == 4
    assert summary["stages"]["propose"]["skipped"] == 4


def test_a_corrupt_image_is_reported_and_the_others_are_done(world, tmp_path):
    (world / "images/frame_2.png").write_bytes(b"no image")
    summary = toy.run_all(world, tmp_path / "out")
    assert summary["failed"] == 1
    assert summary["stages"]["relabel"]["done"] == 3
    (line,) = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    failure = json.loads(line)
    assert (failure["name"], failure["stage"]) == ("frame_2", "propose")
    assert "frame_2.png" in failure["error"]
    assert not (tmp_path / "out/labels/frame_2.png").exists()
    # Repaired, it is done, and the report is empty again.
    Image.fromarray(toy.picture(*toy.COLORS.values())).save(world / "images/frame_2.png")
    assert toy.run_all(world, tmp_path / "out")["failed"] == 0
    assert (tmp_path / "out/failures.jsonl").read_text() == ""
    assert (tmp_path / "out/labels/frame_2.png").is_file()


def test_a_missing_source_prediction_is_that_images_failure(world, tmp_path):
    (world / "source/town/frame_1.png").unlink()
    summary = toy.run_all(world, tmp_path / "out")
    assert summary["failed"] == 1
    assert "town/frame_1" in (tmp_path / "out/failures.jsonl").read_text()


def test_shares_together_give_the_files_of_one_run(world, tmp_path):
    toy.run_all(world, tmp_path / "whole")
    for rank in range(3):
        summary = toy.run_all(world, tmp_path / "parts", share=(rank, 3))
        assert summary["share"] == {"rank": rank, "of": 3}
        assert (tmp_path / f"parts/summary-{rank}-of-3.json").is_file()
    kinds = (*STAGES, "labels", "confidence")
    assert toy.files(tmp_path / "parts", *kinds) == toy.files(tmp_path / "whole", *kinds)


def test_a_region_wholly_without_source_class_keeps_the_base(world, tmp_path):
    source = toy.halves()
    source[:16, :16] = 255
    Image.fromarray(source).save(world / "source/frame_0.png")
    chosen = toy.taxonomy(world, void="sign")
    summary = toy.run_all(world, tmp_path / "out", taxonomy_map=chosen)
    assert (labels(tmp_path / "out", "frame_0")[:16, :16] == 3).all()
    assert summary["image_encoder"]["crops"] < 4 * 16 * 12
    with np.load(tmp_path / "out/relabel/frame_0.npz") as record:
        assert record["majority"][0] == -1
        assert record["offsets"][1] == 0


def test_one_process_per_share(world, tmp_path):
    made = toy.pipeline(world, tmp_path / "out")
    other = toy.pipeline(world, tmp_path / "out")

    class Nested(type(made.run.stages["propose"])):
        def prepare(self):
            with pytest.raises(UserError, match="Another process"):
                other([])

    made([Nested(made.run)])
    assert made.reports[0].done == 4


def test_components_of_the_source_prediction_are_found_after_it(world, tmp_path):
    from mmseg_uda.foundation import ConnectedComponentProposer

    proposer = ConnectedComponentProposer(source="labels", min_area=1)
    made = toy.pipeline(world, tmp_path / "out", proposer=proposer)
    assert list(made.run.stages) == ["predict", "propose", "score", "relabel"]
    summary = made(list(made.run.stages.values()))
    assert summary["alignment"]["masks"] == 2
    soft = toy.pipeline(world, tmp_path / "soft", proposer=proposer, vote="soft")
    with pytest.raises(UserError, match="Soft votes"):
        _ = soft.run.stages
