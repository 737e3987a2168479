"""tools/dynalign.py and dynalign_mapillary.py, run in this process."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
import toy_alignment as toy
from PIL import Image
from pinned_weights import pinned_tensor, reference_case
from released_configs import dump, legacy

from mmseg_uda.apis import init_segmentor, predict
from mmseg_uda.apis.alignment.command import report
from mmseg_uda.commands.dynalign_mapillary import in_processes
from mmseg_uda.locks import Lock
from mmseg_uda.taxonomy import load_taxonomy_map

GRID = ("--proposer", "grid", "cell=20", "--working-size", "original", "--device", "cpu")
CLOSED = ("--taxonomy", "cityscapes_closed", "--scorer", "toy", "input_size=4", *GRID)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script; returns exit status and what it printed to stdout and stderr."""

    def call(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script, run_name="__main__")
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def write_settings(root, **changes):
    """A settings file for the toy world."""
    taxonomy = toy.taxonomy(root)
    (file,) = root.glob("toy-*.yaml")
    content = dict(
        taxonomy=str(file),
        proposer=dict(type="grid", cell=16),
        scorer=dict(type="toy", table=toy.TABLE, input_size=8),
        options=toy.OPTIONS,
        device="cpu",
    )
    (root / "settings.py").write_text(f"alignment = {content | changes!r}\n")
    return taxonomy


@pytest.fixture
def world(tmp_path):
    root = toy.write_world(tmp_path / "world")
    write_settings(root)
    return root


def target_labels(root):
    """Labels of the toy world: what its colours show."""
    colors = np.array(list(toy.COLORS.values()))
    for path in (root / "images").rglob("*.png"):
        image = np.asarray(Image.open(path)).astype(int)
        label = np.abs(image[..., None, :] - colors).sum(-1).argmin(-1).astype(np.uint8)
        out = root / "labels" / path.relative_to(root / "images")
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label).save(out)
    return root / "labels"


def arguments(root, out="out"):
    return (root / "images", "--out", root / out, "--source", root / "source",
            "--settings", root / "settings.py")  # fmt: skip


def test_folders_are_aligned_scored_and_drawn(world, run):
    status, out, _ = run(
        "tools/dynalign.py", *arguments(world), "--labels", target_labels(world),
        "--visualize", "--inspect", "--write", "json", "images",
    )  # fmt: skip
    assert status == 0
    assert "4 images, done now: propose 4, predict 4, score 4, relabel 4, visualize 4" in out
    assert "mIoU_eval 100.0, mIoU_known 100.0, mIoU_new 100.0" in out
    assert json.loads((world / "out/evaluation.json").read_text())["aAcc"] == 100
    for kind, ending in {
        "labels": ".png", "json": "_semantic.json", "images": ".png", "visualization": ".png",
        "inspection": ".html",
    }.items():  # fmt: skip
        assert (world / "out" / kind / f"town/frame_1{ending}").is_file()
    assert not (world / "out/confidence").exists()


def test_another_threshold_encodes_nothing_and_says_so(world, run):
    run("tools/dynalign.py", *arguments(world))
    status, out, _ = run(
        "tools/dynalign.py", *arguments(world), "--threshold", 1, "--labels", target_labels(world)
    )
    assert status == 0
    assert "propose 0, predict 0, score 0, relabel 4" in out
    assert "Calls of the image encoder: 0" in out
    assert "mIoU_new 0.0" in out
    assert json.loads((world / "out/summary.json").read_text())["image_encoder"]["calls"] == 0


def test_a_corrupt_image_gives_status_one_and_the_others(world, run):
    (world / "images/frame_0.png").write_bytes(b"no image")
    status, out, err = run("tools/dynalign.py", *arguments(world))
    assert status == 1
    assert "1 failed" in out
    assert "frame_0.png failed in propose" in err
    assert (world / "out/labels/frame_2.png").is_file()


def test_where_all_images_fail_their_failures_are_told_and_not_the_lack_of_labels(world, run):
    labels = target_labels(world)
    shutil.rmtree(world / "source")
    (world / "source").mkdir()
    status, _, err = run("tools/dynalign.py", *arguments(world), "--labels", labels)
    assert status == 1
    assert "frame_0" in err and "holds no source prediction" in err
    assert "holds no label maps" not in err


def test_images_without_a_label_are_counted(world, run):
    labels = target_labels(world)
    (labels / "frame_0.png").unlink()
    status, out, err = run("tools/dynalign.py", *arguments(world), "--labels", labels)
    assert status == 0
    assert "1 images have no label and are not scored" in err


def test_of_many_failures_the_first_are_shown(tmp_path, capsys):
    failures = [dict(image=f"{k}.png", name="", stage="propose", error="e") for k in range(12)]
    calls = {"calls": 0}
    summary = dict(stages={}, images=12, failed=12, failures=failures,
                   image_encoder=calls, text_encoder=calls)  # fmt: skip
    assert report(summary, tmp_path) == 1
    err = capsys.readouterr().err
    assert "9.png failed" in err and "10.png failed" not in err
    assert f"2 more have failed, see {tmp_path}/failures*.jsonl" in err


def test_stages_one_by_one_and_shares(world, run):
    for stage in ("propose", "predict", "score", "relabel"):
        assert run("tools/dynalign.py", *arguments(world), "--stages", stage)[0] == 0
    for rank in (0, 1):
        shares = ("--rank", rank, "--world-size", 2)
        assert run("tools/dynalign.py", *arguments(world, "parts"), *shares)[0] == 0
    assert toy.files(world / "parts", "labels") == toy.files(world / "out", "labels")
    assert len(toy.files(world / "out", "labels")) == 4


def test_torchrun_variables_share_the_images(world, run, monkeypatch):
    for rank in "01":
        for name, value in (("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)):
            monkeypatch.setenv(name, value)
        _, out, _ = run("tools/dynalign.py", *arguments(world))
        assert out.startswith("2 images")
    assert len(toy.files(world / "out", "labels")) == 4


def test_limit_and_options(world, run):
    status, out, _ = run(
        "tools/dynalign.py", *arguments(world), "--limit", 1, "--options", "shared=False",
        "context_offsets=0,3", "contexts=name", "renormalize=True",
    )  # fmt: skip
    assert status == 0
    assert out.startswith("1 images")
    options = json.loads((world / "out/summary.json").read_text())["options"]
    assert options["context_offsets"] == [0, 3]
    assert (options["shared"], options["contexts"], options["renormalize"]) == (False, "name", True)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (("--options", "tau=0.4"), "no option 'tau'"),
        (("--options", "shared"), "--options 'shared' is no KEY=VALUE"),
        (("--limit", "0"), "--limit has to be at least 1"),
        (("--rank", "1"), "belong together"),
        (("--stages", "evaluate"), "no labels to evaluate"),
        (("--stages", "relabel", "--inspect"), "Add visualize to --stages"),
        (("--stages", "relabel", "--labels", "x"), "Add evaluate to --stages"),
        (("--config", "c.py"), "from one place"),
        (("--proposer", "sam", "points=3"), "no option"),
        (("--taxonomy", "voc"), "No taxonomy map 'voc'"),
    ],
)
def test_wrong_options_are_told_in_one_line(world, run, extra, text):
    status, _, err = run("tools/dynalign.py", *arguments(world), *extra)
    assert status == 2
    assert text in err
    assert "Traceback" not in err


def test_every_missing_network_is_named_at_once_with_its_place_and_source(world, trained, run):
    config, _ = trained("daformer")
    status, _, err = run(
        "tools/dynalign.py", world / "images", "--out", world / "out", "--device", "cpu",
        "--config", config, "--checkpoint", "absent/hrda.pth",
        "--proposer", "SegmentAnythingProposer", "checkpoint=absent/sam_vit_h_4b8939.pth",
        "--scorer", "open_clip", "checkpoint=./pretrained/none",
    )  # fmt: skip
    assert status == 2
    assert "3 networks cannot be loaded" in err
    for name in ("absent/hrda.pth", "sam_vit_h_4b8939.pth", "https://", "pretrained/none"):
        assert name in err


def test_a_segmenter_predicts_and_its_defaults_survive_a_closed_set(trained, images, run, tmp_path):
    config, checkpoint = trained("daformer")
    frames = images / "leftImg8bit/val"
    status, _, err = run(
        "tools/dynalign.py", frames, "--out", tmp_path, "--config", config, "--checkpoint",
        checkpoint, *CLOSED, "--threshold", 1,
    )  # fmt: skip
    assert status == 0, err
    model = init_segmentor(config, checkpoint, "cpu")
    defaults = np.array(load_taxonomy_map("cityscapes_closed").default_lookup())
    written = sorted((tmp_path / "labels").rglob("*.png"))
    assert len(written) == 3
    changed = 0
    for path in written:
        (frame,) = frames.rglob(f"{path.stem}.*")
        found, alone = np.asarray(Image.open(path)), predict(model, frame).label
        # Regions take their majority; what differs lies within cells of 20 pixels.
        changed += (found != defaults[alone]).sum()
        for y in range(0, found.shape[0], 20):
            for x in range(0, found.shape[1], 20):
                cell = alone[y : y + 20, x : x + 20]
                assert (found[y : y + 20, x : x + 20] == np.bincount(cell.ravel()).argmax()).all()
    again = run(
        "tools/dynalign.py", frames, "--out", tmp_path, "--config", config, "--checkpoint",
        checkpoint, *CLOSED, "--threshold", 1,
    )  # fmt: skip
    assert "predict 0" in again[1]


def test_the_students_and_the_teachers_predictions_are_kept_apart(trained, images, run, tmp_path):
    config, checkpoint = trained("hrda")
    common = (images / "leftImg8bit/val", "--out", tmp_path, "--config", config, "--checkpoint",
              checkpoint, *CLOSED, "--stages", "predict")  # fmt: skip
    for extra in ((), ("--teacher",), ("--hrda-out", "LR"), ("--inference-mode", "whole")):
        status, out, err = run("tools/dynalign.py", *common, *extra)
        assert status == 0, err
        assert "predict 3" in out


def test_soft_votes_of_a_segmenter(trained, images, run, tmp_path):
    config, checkpoint = trained("daformer")
    frames = images / "leftImg8bit/val"
    status, _, err = run(
        "tools/dynalign.py", frames, "--out", tmp_path, "--config", config, "--checkpoint",
        checkpoint, *CLOSED, "--vote", "soft",
    )  # fmt: skip
    assert status == 0, err
    model = init_segmentor(config, checkpoint, "cpu")
    for path in sorted((tmp_path / "predict").rglob("*.npz")):
        (frame,) = frames.rglob(f"{path.stem}.*")
        soft = predict(model, frame, probabilities=True).probabilities
        with np.load(path) as record:
            votes, size = record["votes"], record["size"].tolist()
        assert votes.shape == (-(-size[0] // 20) * -(-size[1] // 20), 19)
        assert np.allclose(votes[0], soft[:, :20, :20].mean((1, 2)), atol=1e-5)
    status, _, err = run(
        "tools/dynalign.py", frames, "--out", tmp_path / "b", "--source", tmp_path, *CLOSED,
        "--vote", "soft",
    )  # fmt: skip
    assert status == 1
    assert "which soft votes need" in err


class TestPublishedCommand:
    """dynalign_mapillary.py."""

    @pytest.fixture
    def command(self, trained, world, run):
        config, checkpoint = trained("hrda")
        write_settings(world, taxonomy="mapillary_v5")
        (world / "labels").mkdir()
        fixed = ("--config", config, "--checkpoint", checkpoint, "--out_dir", world / "out",
                 "--settings", world / "settings.py")  # fmt: skip

        def call(*extra):
            return run("dynalign_mapillary.py", *fixed, *extra)

        return call

    def data(self, world):
        return ("--dataset", "Mapillary", "--data_dir", world)

    def test_it_writes_the_published_layout(self, command, world):
        status, out, err = command(*self.data(world), "--save_img", "--prob_threshold", 0.6)
        assert status == 0, err
        assert sorted(p.name for p in (world / "out").iterdir() if p.is_dir()) == [
            "images", "json", "label", "labels", "predict", "propose", "relabel", "score", "text",
            "visualization", "visualize",
        ]  # fmt: skip
        assert (world / "out/label/frame_0.png").samefile(world / "out/labels/frame_0.png")
        content = json.loads((world / "out/json/frame_0_semantic.json").read_text())
        assert {"annotations", "semantic_mask"} == set(content)
        summary = json.loads((world / "out/summary.json").read_text())
        assert summary["taxonomy"] == "mapillary_v5"
        assert summary["options"]["crops"] == "exact"
        assert summary["options"]["threshold"] == 0.6

    def test_parts_of_the_images(self, command, world):
        for index in (1, 2, 3):
            status, out, _ = command(*self.data(world), "--data_idx", index, "--data_fold", 3)
            assert status == 0
            assert out.startswith("0 images" if index == 3 else "2 images")
        assert len(toy.files(world / "out", "labels")) == 4

    def test_parts_may_run_side_by_side(self, command, world):
        other = Lock(world / "out/.share-1-of-2.lock")
        other.path.parent.mkdir()
        assert other.acquire()
        try:
            assert command(*self.data(world), "--data_idx", 1, "--data_fold", 2)[0] == 0
            status, _, err = command(*self.data(world), "--data_idx", 2, "--data_fold", 2)
        finally:
            other.release()
        assert status == 2
        assert "Another process" in err
        assert (world / "out/summary-0-of-2.json").is_file()

    @pytest.mark.parametrize("launcher", ["pytorch", "slurm", "mpi"])
    def test_processes_of_a_part_share_it(self, command, world, monkeypatch, launcher):
        names = {"pytorch": ("RANK", "WORLD_SIZE"), "slurm": ("SLURM_PROCID", "SLURM_NTASKS"),
                 "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")}[launcher]  # fmt: skip
        monkeypatch.setenv(names[1], "2")
        for rank in "01":
            monkeypatch.setenv(names[0], rank)
            part = ("--launcher", launcher, "--data_idx", 2, "--data_fold", 2)
            status, out, err = command(*self.data(world), *part)
            assert status == 0, err
            assert out.startswith("1 images")
        assert len(toy.files(world / "out", "labels")) == 2
        assert (world / "out/summary-3-of-4.json").is_file()

    def test_a_killed_process_is_a_failure(self, monkeypatch):
        code = "import os, signal; os.environ['RANK'] == '0' and os.kill(os.getpid(), 9)"
        monkeypatch.setattr(sys, "argv", ["-c", code])
        assert in_processes(2) == 1

    def test_options_without_effect_are_answered(self, command, world):
        status, _, err = command(
            *self.data(world), "--eval", "mIoU", "--show-dir", "x", "--seg_only", "--format-only"
        )
        assert status == 0
        for name in ("--eval", "--show-dir", "--seg_only", "--format-only"):
            assert f"{name} has no effect: " in err

    @pytest.mark.parametrize(
        ("extra", "text"),
        [
            (("--prob_treshold", "0.6"), "Did you mean --prob_threshold?"),
            (("--dataset_sam", "mapillary_closeset"), "never implemented"),
            (("--dataset", "IDD"), "Give --data_dir"),
            (("--config", "seg_hrda.json"), "no config seg_hrda.json"),
            (("--data_idx", "3", "--data_fold", "2"), "no part 3 of 2"),
            (("--eval_sam", "--gt_path", "nowhere"), "nowhere"),
            (("--eval_sam", "--data_fold", "2"), "afterwards the same command"),
            (("--eval_sam", "--world_size", "2"), "afterwards the same command"),
        ],
    )
    def test_what_cannot_work_is_told(self, command, world, extra, text):
        data = () if "IDD" in extra else self.data(world)
        status, _, err = command(*data, *extra)
        assert status == 2
        assert text in err

    def test_the_json_beside_a_released_checkpoint(self, command, world, images, run):
        config, checkpoint = world / "seg_hrda.json", world / "iter_40000_relevant.pth"
        net, shapes = reference_case("hrda_daformer")
        config.write_text(json.dumps(dump(legacy(net), images, size=(128, 64))))
        state = {f"model.{name}": pinned_tensor(name, shape) for name, shape in shapes.items()}
        torch.save({"meta": {}, "state_dict": state}, checkpoint)
        released = ("--config", config, "--checkpoint", checkpoint)
        status, out, err = command(*released, "--inference-mode", "whole", "--hrda-out", "LR")
        assert status == 0, err
        assert out.startswith("3 images")
        status, out, err = command(*released, "--train-set", "--dataset", "Config")
        assert status == 2  # these data have no such split
        assert "leftImg8bit/train" in err

    def test_images_of_the_config(self, command, world, images, trained):
        status, out, err = command("--inference-mode", "whole", "--model", "ema_model")
        assert status == 0, err
        assert out.startswith("3 images")

    def test_processes_share_the_images(self, world, monkeypatch):
        seen = world / "seen"
        seen.mkdir()
        code = (
            "import os; open(os.path.join(%r, os.environ['RANK'] + 'of' + "
            "os.environ['WORLD_SIZE']), 'w'); raise SystemExit(int(os.environ['RANK']))"
        )
        monkeypatch.setattr(sys, "argv", ["-c", code % str(seen)])
        assert in_processes(3) == 2
        assert sorted(p.name for p in seen.iterdir()) == ["0of3", "1of3", "2of3"]
