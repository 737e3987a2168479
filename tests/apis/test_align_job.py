"""tools/align.py: alignments as jobs of an experiment, and training on their labels."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.apis.alignment.job import reuse_records, run_alignment
from mmseg_uda.errors import UserError


@pytest.fixture
def config(trained, images, tmp_path):
    """An alignment of three frames with their own labels; the source model lies in a folder."""
    segmentor, checkpoint = trained("daformer")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copyfile(checkpoint, run / "iter_20.pth")
    (run / "iter_3.pth").write_bytes(b"an older one")
    data = dict(type="Cityscapes", split="val", data_root=str(images))
    return Config(
        dict(
            alignment=dict(
                taxonomy="cityscapes_closed",
                proposer=dict(type="grid", cell=20),
                scorer=dict(type="toy", input_size=4),
                options=dict(threshold=0.6, working_size="original"),
                device="cpu",
            ),
            source=dict(config=str(segmentor), run=str(run)),
            data=dict(evaluate=data, train=data),
        )
    )


def changed(config, **options):
    other = config.copy()
    other.merge_from_dict({f"alignment.options.{name}": v for name, v in options.items()})
    return other


def test_a_job_aligns_evaluates_and_makes_labels(config, tmp_path):
    run_alignment(config, tmp_path / "job")
    (entry,) = json.loads((tmp_path / "job/evaluations.json").read_text())
    assert entry["iter"] == 6
    assert {"mIoU", "mIoU_known", "mIoU_new", "IoU"} <= set(entry)
    assert json.loads((tmp_path / "job/progress.json").read_text())["max_iters"] == 6
    images = {key: config.data.train[key] for key in ("type", "split", "data_root")}
    dataset = DATASETS.build(
        dict(
            type="AlignedDataset",
            images=images,
            results=str(tmp_path / "job/train"),
            taxonomy_map="cityscapes_closed",
            pipeline=[dict(type=t) for t in ("LoadFrame", "LoadTrainIds", "LoadConfidence")],
        )
    )
    assert len(dataset) == 3
    assert dataset[0]["gt_seg_map"].shape == dataset[0]["confidence"].shape == (40, 80)


def test_another_threshold_takes_over_the_records(config, tmp_path):
    first = run_alignment(config, tmp_path / "first")["evaluate"]
    assert first["image_encoder"]["calls"] > 0
    other = changed(config, threshold=1.0)
    other.reuse = str(tmp_path / "first")
    second = run_alignment(other, tmp_path / "second")["evaluate"]
    assert second["image_encoder"]["calls"] == 0
    assert second["stages"]["relabel"]["done"] == 3
    again = run_alignment(changed(config, threshold=1.0), tmp_path / "alone")["evaluate"]
    assert again["scores"] == second["scores"]
    for path in (tmp_path / "alone/evaluate/labels").rglob("*.png"):
        twin = tmp_path / "second/evaluate" / path.relative_to(tmp_path / "alone/evaluate")
        assert twin.read_bytes() == path.read_bytes()


def test_records_that_do_not_fit_are_made_anew_and_the_others_stay(config, tmp_path):
    run_alignment(config, tmp_path / "first")
    before = {p: p.read_bytes() for p in (tmp_path / "first").rglob("score/**/*.npz")}
    other = changed(config, minor_padding=1)
    other.reuse = str(tmp_path / "first")
    summary = run_alignment(other, tmp_path / "second")["evaluate"]
    assert summary["stages"]["score"]["done"] == 3
    assert summary["stages"]["predict"]["skipped"] == 3
    assert before and all(path.read_bytes() == content for path, content in before.items())


def test_a_finished_job_does_nothing_again(config, tmp_path):
    run_alignment(config, tmp_path / "job")
    summary = run_alignment(config, tmp_path / "job")["train"]
    assert {stage["done"] for stage in summary["stages"].values()} == {0}


def test_copies_where_files_cannot_be_linked(tmp_path, monkeypatch):
    record = tmp_path / "a/score/x/1.npz"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"record")

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr("mmseg_uda.apis.alignment.job.os.link", refuse)
    reuse_records(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b/score/x/1.npz").read_bytes() == b"record"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(data={}), "needs 'source' and 'data'"),
        (dict(source=dict(config="c.py")), "no config or no checkpoint"),
        (dict(source=dict(config="c.py", run="nowhere")), "holds no checkpoint"),
    ],
)
def test_what_is_missing_is_told(config, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        run_alignment(Config({**config.to_dict(), **change}), tmp_path / "job")


def test_the_tool(config, tmp_path, monkeypatch, capsys):
    config.dump(tmp_path / "job.py")
    line = ["tools/align.py", str(tmp_path / "job.py"), "--work-dir", str(tmp_path / "job")]
    monkeypatch.setattr(sys, "argv", [*line, "--cfg-options", "limit=1"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("tools/align.py", run_name="__main__")
    assert not ended.value.code
    assert "mIoU_eval" in capsys.readouterr().out
    (label,) = (tmp_path / "job/train/labels").rglob("*.png")
    assert np.asarray(Image.open(label)).shape == (40, 80)


def test_missing_data_is_told_with_how_to_get_it_before_a_network_is_built(config, tmp_path):
    data = {"evaluate": dict(type="Mapillary", split="val", data_root=str(tmp_path / "no"))}
    data["train"] = data["evaluate"]
    with pytest.raises(UserError) as raised:
        run_alignment(Config({**config.to_dict(), "data": data}), tmp_path / "job")
    text = str(raised.value)
    assert text.count("validation/images is missing") == 1
    assert "labels" in raised.value.message
    assert text.count("Fix: Download Mapillary Vistas from") == 1
    assert not (tmp_path / "job").exists()


def test_a_config_of_a_training_is_answered_with_what_runs_it(config, tmp_path):
    content = {key: value for key, value in config.to_dict().items() if key != "alignment"}
    with pytest.raises(UserError, match="tools/train.py"):
        run_alignment(Config(content), tmp_path / "job")


def test_a_misspelt_setting_is_named_with_the_known_ones(config, tmp_path):
    wrong = config.copy()
    wrong.alignment.proposr = wrong.alignment.pop("proposer")
    with pytest.raises(UserError, match="no option 'proposr'") as raised:
        run_alignment(wrong, tmp_path / "job")
    assert "proposer" in raised.value.fix


def test_the_tool_finds_data_sets_below_a_given_folder(config, tmp_path, monkeypatch, capsys):
    config.data = dict(evaluate=dict(type="Mapillary", split="val"))
    config.dump(tmp_path / "job.py")
    line = ["tools/align.py", str(tmp_path / "job.py"), "--work-dir", str(tmp_path / "job")]
    monkeypatch.setattr(sys, "argv", [*line, "--data-root", str(tmp_path / "sets")])
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", "")
    with pytest.raises(SystemExit):
        runpy.run_path("tools/align.py", run_name="__main__")
    assert f"{tmp_path}/sets/mapillary/validation/images is missing" in capsys.readouterr().err


def test_where_no_image_can_be_aligned_the_first_failure_is_told(config, tmp_path):
    (tmp_path / "regions").mkdir()
    other = config.copy()
    other.alignment.proposer = dict(type="precomputed", folder=str(tmp_path / "regions"))
    other.data.pop("train")
    with pytest.raises(UserError, match="None of 3 images could be aligned.*failed in propose"):
        run_alignment(other, tmp_path / "job")


def test_the_options_of_a_data_set_choose_images_and_labels(config, images, tmp_path):
    """Own names, a list and a label map, as a training would read them."""
    own = tmp_path / "own"
    names = sorted((images / "leftImg8bit/val").rglob("*_leftImg8bit.png"))
    for number, image in enumerate(names):
        label = str(image).replace("leftImg8bit/val", "gtFine/val")
        label = label.replace("_leftImg8bit.png", "_gtFine_labelTrainIds.png")
        (own / "masks").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, own / f"{number}.png")
        shutil.copyfile(label, own / f"masks/{number}_mask.png")
    (own / "list.txt").write_text("0\n2\n")
    data = dict(data_root=str(own), img_dir="", label_dir="masks", label_suffix="_mask.png")
    config.data = dict(evaluate=dict(type="TaxonomyDataset", **data, file_list="list.txt"))
    plain = run_alignment(config, tmp_path / "plain")["evaluate"]
    assert plain["images"] == 2 and plain["scores"]["without_label"] == []
    config.data.evaluate.label_map = dict.fromkeys(range(1, 19), 255)
    mapped = run_alignment(config, tmp_path / "mapped")["evaluate"]
    assert mapped["scores"]["IoU"] != plain["scores"]["IoU"]
    config.data.evaluate.indices = 1
    with pytest.raises(UserError, match=r"data\.evaluate\.indices has no effect"):
        run_alignment(config, tmp_path / "refused")
