"""Files in ``_base_`` and modules of ``custom_imports``, from wherever a config lies."""

import sys

import pytest

from mmseg_uda.config_files import CONFIGS, find_config, read_config
from mmseg_uda.errors import UserError

FINAL = CONFIGS / "mic/gtaHR2csHR_mic_hrda.py"


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A current folder without configs, and another one for the config."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("own_part", "broken_part"):
        sys.modules.pop(name, None)


def write(away, base, *lines):
    path = away / "there/mine/cfg.py"
    path.write_text("\n".join([f"_base_ = {base!r}", *lines]))
    return path


@pytest.mark.parametrize(
    "base",
    [
        ["mmseg_uda::mic/gtaHR2csHR_mic_hrda.py"],
        "mmseg_uda::mic/gtaHR2csHR_mic_hrda",
        "mmseg_uda::configs/mic/gtaHR2csHR_mic_hrda.py",
        ["configs/mic/gtaHR2csHR_mic_hrda.py"],
        ["../mic/gtaHR2csHR_mic_hrda.py"],
        ["./configs/mic/gtaHR2csHR_mic_hrda"],
    ],
)
def test_a_config_of_the_package(away, base):
    config = read_config(write(away, base, "work_dir = 'mine'"))
    expected = read_config(FINAL).to_dict()
    assert config.to_dict() == {**expected, "work_dir": "mine"}
    assert "_scope_" not in config.model


def test_a_project_folder_names_its_config(away):
    write(away, [])
    with pytest.raises(UserError, match="is a folder, not a file") as told:
        find_config(away / "there/mine")
    assert told.value.fix == "Configs are under configs/; check the path."
    (away / "there/mine/mine.py").write_text("")
    with pytest.raises(UserError, match=r"Did you mean .*there/mine/mine\.py\?"):
        find_config(away / "there/mine")


@pytest.mark.parametrize("name", ["iter_6.pth", "model.safetensors"])
def test_a_checkpoint_in_the_place_of_a_config(away, name):
    (away / name).touch()
    with pytest.raises(UserError, match=f"(?s){name} holds weights.*config first"):
        read_config(away / name)


def test_fragments_of_the_package(away):
    bases = ["mmseg_uda::_base_/recipes/default.py", "../_base_/domains/gta.py"]
    config = read_config(write(away, bases, "data = dict(_base_.source_gta)"))
    assert config.data.type == "GTA" and "source_gta" not in config


def test_a_file_beside_the_config_comes_first(away):
    near = away / "there/mine/configs/mic/gtaHR2csHR_mic_hrda.py"
    near.parent.mkdir(parents=True)
    near.write_text("near = True")
    assert read_config(write(away, ["configs/mic/gtaHR2csHR_mic_hrda.py"])).near
    assert "near" not in read_config(write(away, ["mmseg_uda::mic/gtaHR2csHR_mic_hrda.py"]))


def test_another_package_is_left_to_mmengine(away):
    with pytest.raises(UserError, match="no_such_package"):
        read_config(write(away, ["no_such_package::a/b.py"]))


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("mmseg_uda::mic/gtaHR2csHR_mic_hrdda.py", "Did you mean mmseg_uda::mic/gtaHR2csHR_mic"),
        ("../networks/daformer_sepaspp_mitb6.py", "mmseg_uda::_base_/networks/daformer_sepaspp_mi"),
        ("/nowhere/zzz.py", "Paths start from"),
        (7, "Write _base_"),
    ],
)
def test_a_base_that_is_missing(away, base, words):
    path = write(away, [base])
    with pytest.raises(UserError) as error:
        read_config(path)
    assert str(base) in error.value.message and str(path) in error.value.message
    assert words in error.value.fix


def test_names_on_the_command_line(away):
    for name in ("mmseg_uda::mic/gtaHR2csHR_mic_hrda.py", "configs/mic/gtaHR2csHR_mic_hrda"):
        assert find_config(name) == FINAL


@pytest.mark.parametrize("folder", ["here", "there/mine"])
def test_modules_beside_the_user_or_the_config(away, folder):
    (away / folder / "own_part.py").write_text(f"WHERE = {folder!r}")
    read_config(write(away, [], "custom_imports = dict(imports=['own_part'])"))
    assert folder == sys.modules["own_part"].WHERE


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "No module named"), ("import no_such_thing", "no_such_thing")]
)
def test_a_module_that_cannot_be_imported(away, text, reason):
    if text:
        (away / "here/broken_part.py").write_text(text)
    path = write(away, [], "custom_imports = dict(imports='broken_part')")
    with pytest.raises(UserError) as error:
        read_config(path)
    assert str(path) in error.value.message and reason in error.value.message
    assert "broken_part" in error.value.message and "folder" in error.value.fix
    failed = "custom_imports = dict(imports='broken_part', allow_failed_imports=True)"
    read_config(write(away, [], failed))
