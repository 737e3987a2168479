"""Images that are read in two roles."""

import os

import pytest

from mmseg_uda.inspection.overlap import check_overlap


@pytest.fixture
def data(tmp_path):
    """Folders 'one' and 'two' of three images each; returns a function that makes a config."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            (tmp_path / folder / f"{i}.png").touch()

    def entry(folder, **options):
        item = dict(type="TaxonomyDataset", data_root=str(tmp_path), img_dir=folder)
        return {**item, "images_only": True, **options}

    def config(source, target, val):
        pair = dict(type="DomainPairDataset", source=source, target=target)
        loader = dict(dataset=val)
        return dict(
            train_dataloader=dict(dataset=pair), val_dataloader=loader, test_dataloader=loader
        )

    return entry, config


def test_folders_of_their_own(data):
    entry, config = data
    assert check_overlap(config(entry("one"), None, entry("two"))) == []


def test_source_and_target_are_the_same(data):
    entry, config = data
    (finding,) = check_overlap(config(entry("one"), entry("one"), None))
    assert "3 images are in both" in finding.message
    for key in ("train_dataloader.dataset.source", "train_dataloader.dataset.target"):
        assert key in finding.message


def test_a_training_without_a_target_may_name_its_source_twice(data):
    entry, config = data
    supervised = dict(source_only=True)
    assert check_overlap(config(entry("one"), entry("one"), None) | dict(uda=supervised)) == []
    evaluated = config(entry("one"), entry("two"), entry("one")) | dict(uda=supervised)
    assert len(check_overlap(evaluated)) == 1


def test_an_evaluation_on_images_of_the_training_is_told_once(data):
    entry, config = data
    (finding,) = check_overlap(config(entry("one"), None, entry("one", label_suffix=".x.png")))
    assert "3 images are read for training and for evaluation" in finding.message
    assert "val_dataloader.dataset" in finding.message


def test_an_evaluation_folder_inside_the_training_folder(data, tmp_path):
    entry, config = data
    (tmp_path / "two").rename(tmp_path / "one/val")
    (finding,) = check_overlap(config(entry("one"), None, entry("one/val")))
    assert "3 images are read" in finding.message and "one/val/0.png" in finding.message


def test_links_hide_nothing(data, tmp_path):
    entry, config = data
    os.symlink(tmp_path / "two", tmp_path / "one/more")
    assert "3 images" in check_overlap(config(entry("one"), None, entry("two")))[0].message
    (tmp_path / "one/more").unlink()
    os.symlink(tmp_path / "two/1.png", tmp_path / "one/x.png")
    assert "1 images" in check_overlap(config(entry("one"), None, entry("two")))[0].message


def test_lists_may_split_a_folder(data, tmp_path):
    entry, config = data
    (tmp_path / "a.txt").write_text("0\n1\n")
    (tmp_path / "b.txt").write_text("2\n")
    lists = [entry("one", file_list=f"{name}.txt") for name in "ab"]
    assert check_overlap(config(lists[0], None, lists[1])) == []
    (tmp_path / "b.txt").write_text("1\n2\n")
    (finding,) = check_overlap(config(lists[0], None, lists[1]))
    assert "1 images are read" in finding.message


def test_what_cannot_be_found_is_told_elsewhere(data):
    entry, config = data
    assert (
        check_overlap(config(entry("absent"), entry("absent"), dict(type="GTA", split="x"))) == []
    )
