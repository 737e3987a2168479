"""``tools/new_project.py``: what it writes is sound at once."""

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from harbour import write_pairs

from mmseg_uda.engine.config_file import load_config
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.doctor import cli as doctor
from mmseg_uda.inspection import inspect_start
from mmseg_uda.projects.command import main
from mmseg_uda.taxonomy import load_taxonomy

IMAGES, LABELS = "my data/rgb frames/süd {j}/{i}_rgb.jpg", "my data/ids/süd {j}/{i}_id-map.png"
SOURCE = ["--source-images", "my data/rgb frames", "--source-labels", "my data/ids"]
TARGET = ["--target-images", "photos"]
CHECKED = ["--val-images", "checked", "--val-labels", "checked"]
NAMES = ["--classes", "4=water", "9=fishing boat", "11=quay", "--ignore", "0"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    write_pairs(tmp_path, IMAGES, LABELS)
    write_pairs(tmp_path, "photos/{j}/DSC{i}.JPG", "", first=100)
    write_pairs(tmp_path, "checked/{i}.png", "checked/{i}.ids.png", first=200, count=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    return tmp_path


def warnings_for(path):
    return [f for f in inspect_start([load_config(path)]) if f.level.value != "ok"]


def test_the_doctor_is_happy(data, capsys):
    options = [*SOURCE, *TARGET, *CHECKED, *NAMES, "--things", "fishing boat"]
    assert main(["harbour", *options, "--encoder", "small", "--iterations", "7"]) == 0
    told = capsys.readouterr().out
    assert "id   9  fishing boat" in told and "6 images **_rgb.jpg" in told
    path = data / "harbour/harbour.py"
    assert warnings_for(path) == []
    commands = [line.split() for line in told.splitlines() if line.startswith("  python ")]
    assert [words[1] for words in commands] == [
        "tools/doctor.py",
        "tools/train.py",
        "tools/infer.py",
    ]
    # The folder of the run stands for its config and its newest checkpoint, however long it was.
    files = ["harbour/harbour.py", "harbour/harbour.py", "work_dirs/harbour"]
    assert [words[2] for words in commands] == files
    assert doctor.main([str(path)]) == 0
    assert "All is well" in capsys.readouterr().out


def test_what_it_writes(data):
    main(["harbour", *SOURCE, *TARGET, *CHECKED, *NAMES])
    taxonomy = load_taxonomy("harbour/taxonomy.yaml")
    assert taxonomy.classes == ("water", "fishing boat", "quay")
    assert taxonomy.raw_ids == {"files": {0: 255, 4: 0, 9: 1, 11: 2}}
    # An id between these may be a class that was not seen: it is told.
    assert taxonomy.raw_id_ends == {}
    assert len(set(taxonomy.palette)) == 3
    config = load_config("harbour/harbour")
    assert config.model.decode_head.num_classes == 3
    assert config.model.backbone.variant == "b5" and config.uda.feature_distance is None
    assert config.train_cfg.max_iters == 40000
    parts = config.train_dataloader.dataset
    assert parts.target.images_only and parts.source.label_map == "files"
    assert config.val_dataloader.dataset == config.test_dataloader.dataset
    assert warnings_for(data / "harbour/harbour.py") == []


def test_without_validation(data, capsys):
    main(["sub/harbour", *SOURCE, *TARGET, "--encoder", "b0"])
    config = load_config("sub/harbour/harbour.py")
    assert config.val_dataloader is config.val_evaluator is config.val_cfg is None
    assert config.test_dataloader.dataset.images_only and config.test_evaluator.format_only
    assert config.model.decode_head.in_channels == [32, 64, 160, 256]
    assert config.model.decode_head.num_classes == 4  # 0 is a class unless it is said
    assert warnings_for(data / "sub/harbour/harbour.py") == []
    assert "validation: none" in capsys.readouterr().out


def test_images_without_label(data, capsys):
    (data / "my data/ids/süd 0/0_id-map.png").unlink()
    main(["harbour", *SOURCE, *TARGET, *NAMES])
    assert "1 images have no label and are not used" in capsys.readouterr().err
    config = load_config("harbour/harbour.py")
    listed = Path(config.train_dataloader.dataset.source.file_list)
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 5
    assert warnings_for(data / "harbour/harbour.py") == []


def test_a_taxonomy_that_is_there(data):
    write_pairs(data, "cs/{i}.png", "cs_ids/{i}.png", change=lambda ids: ids % 8)
    source = ["--source-images", "cs", "--source-labels", "cs_ids"]
    main(["streets", *source, *TARGET, "--taxonomy", "cityscapes19"])
    config = load_config("streets/streets.py")
    assert config.uda.taxonomy == "cityscapes19" and not (data / "streets/taxonomy.yaml").exists()
    assert config.uda.feature_distance.classes == "things"
    (data / "two.yaml").write_text(
        "classes:\n  - {name: a, color: [0, 0, 0], group: a, prompts: [a]}\n"
        "  - {name: b, color: [1, 1, 1], group: a, prompts: [a]}\n"
    )
    with pytest.raises(UserError, match="hold ids 3, 4.*beside --taxonomy two.yaml"):
        main(["other", *source, *TARGET, "--taxonomy", "two.yaml"])
    assert not (data / "other").exists()


def test_questions(data, monkeypatch):
    answers = iter(["my data/rgb frames", "my data/ids", "photos", "", "-", "water", "", "quay"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(builtins, "input", lambda question: next(answers))
    main(["harbour"])
    assert load_taxonomy("harbour/taxonomy.yaml").classes == ("water", "class_9", "quay")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*SOURCE], "needs --target-images"),
        ([*SOURCE, *TARGET, "--val-images", "checked"], "Validation needs images and labels"),
        ([*SOURCE, *TARGET, "--iterations", "0"], "--iterations 0"),
        ([*SOURCE, "--target-images", "nowhere"], "nowhere is no folder"),
        ([*SOURCE, *TARGET, "--classes", "a", "b"], "hold 4 ids"),
    ],
)
def test_what_is_refused(data, options, message):
    with pytest.raises(UserError, match=message) as error:
        main(["harbour", *options])
    assert error.value.fix and not (data / "harbour").exists()


def test_nothing_is_overwritten(data):
    main(["harbour", *SOURCE, *TARGET])
    before = (data / "harbour/harbour.py").read_bytes()
    for name in ("harbour", "photos", "two.yaml"):
        (data / "two.yaml").touch()
        with pytest.raises(UserError, match="is there already, and nothing is overwritten"):
            main([name, *SOURCE, *TARGET])
    assert (data / "harbour/harbour.py").read_bytes() == before
