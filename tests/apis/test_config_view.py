"""Origins of values and differences of configs."""

import pytest

from mmseg_uda.apis import explain_config
from mmseg_uda.apis.config_view import Difference
from mmseg_uda.config_files import CONFIGS, final_configs, find_config, read_config
from mmseg_uda.errors import UserError

EMPTY = ({}, [], ())  # nothing in them to have an origin
MIC = "mic/gtaHR2csHR_mic_hrda"


def origins(config, key=""):
    return {one.key: one.origin for one in explain_config(config, key)}


def test_every_value_of_a_final_config_has_the_file_that_says_it():
    found = origins(MIC)
    assert found["uda.masking.mask_ratio"] == "_base_/methods/mic.py"
    assert found["uda.alpha"] == "_base_/recipes/default.py"
    assert found["train_dataloader.dataset.source.pipeline.2.scale"] == "_base_/domains/gta.py"
    assert found["model.hr_crop_size"] == "_base_/networks/hrda1_daformer_sepaspp_mitb5.py"
    assert found["uda.masking.weight_main_loss_only"] == "default of MaskedConsistency"
    assert found["uda.teacher_norm"] == "default of SelfTraining"


def test_what_the_file_itself_says_is_told_from_what_it_takes():
    name = "csi/synHR2csHR_csi_mic.py"
    found = origins(name)
    assert found["uda.relabel.relabel"] == name  # (11999, 39999)
    assert found["uda.relabel.collect"] == "_base_/methods/csi.py"
    assert found["uda.masking.mode"] == "_base_/methods/mic.py"
    assert found["model.decode_head.loss_decode.avg_non_ignore"] == name
    assert found["optim_wrapper.optimizer.type"] == "_base_/recipes/default.py"
    srha = origins("srha/srha_r50-m2f_b8-120k_gta2cbm-sgd")
    assert srha["optim_wrapper.optimizer.lr"] == "srha/srha_r50-m2f_b8-120k_gta2cbm-sgd.py"
    assert srha["optim_wrapper.optimizer.momentum"] == "_base_/recipes/generalization.py"


def test_values_are_those_that_a_training_gets():
    for path in (CONFIGS / f"{MIC}.py", CONFIGS / "dynalign/gta2idd_retrain.py"):
        config = read_config(path)
        for one in explain_config(path):
            if one.is_default:
                continue
            value = config
            for part in one.key.split("."):
                value = value[int(part) if isinstance(value, (list, tuple)) else part]
            assert value == one.value, one.key
            assert one.origin or one.value in EMPTY


@pytest.mark.parametrize("path", final_configs()[::7], ids=lambda path: path.stem)
def test_every_value_has_an_origin(path):
    assert not [one for one in explain_config(path) if not one.origin and one.value not in EMPTY]


def test_a_config_of_ones_own_that_calculates_with_its_bases(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        f"_base_ = [{str(CONFIGS / f'{MIC}.py')!r}]\n"
        "optim_wrapper = dict(optimizer=dict(lr=2 * _base_.optim_wrapper.optimizer.lr))\n"
        "uda = dict(masking={{_base_.mic_separate}})\n"
    )
    found = {one.key: one for one in explain_config(path)}
    assert found["optim_wrapper.optimizer.lr"].value == 1.2e-4
    assert found["optim_wrapper.optimizer.lr"].origin == str(path)
    assert found["uda.masking.mode"].value == "separate"
    assert found["uda.alpha"].origin == "_base_/recipes/default.py"


def test_a_comparison_leaves_out_what_a_default_says(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        f"_base_ = [{str(CONFIGS / f'{MIC}.py')!r}]\n"
        "uda = dict(target_start=0, masking=dict(mask_ratio=0.5), feature_distance=None)\n"
    )
    found = {one.key: one for one in explain_config(MIC, "uda", path)}
    ratio = found.pop("uda.masking.mask_ratio")
    assert isinstance(ratio, Difference)
    assert (ratio.before.value, ratio.after.value) == (0.7, 0.5)
    assert str(ratio).splitlines()[1].startswith("+ uda.masking.mask_ratio = 0.5")
    assert {key for key in found if not key.startswith("uda.feature_distance")} == set()
    assert found["uda.feature_distance"].before is None
    assert found["uda.feature_distance.loss_weight"].after is None
    assert explain_config(MIC, other=f"configs/{MIC}.py") == []


def test_a_key_chooses_a_part():
    keys = [one.key for one in explain_config(MIC, "uda.masking")]
    assert keys[0] == "uda.masking.type" and all(k.startswith("uda.masking.") for k in keys)
    with pytest.raises(UserError, match="nothing under uda.maskin") as error:
        explain_config(MIC, "uda.maskin")
    assert "uda.masking" in error.value.fix


@pytest.mark.parametrize("name", [MIC, f"{MIC}.py", f"configs/{MIC}", str(CONFIGS / MIC)])
def test_configs_are_found_with_and_without_their_ending(name, tmp_path, monkeypatch):
    assert find_config(name).resolve() == CONFIGS / f"{MIC}.py"
    monkeypatch.chdir(tmp_path)
    assert find_config(name).resolve() == CONFIGS / f"{MIC}.py"


def test_configs_of_the_current_folder_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "configs" / f"{MIC}.py"
    own.parent.mkdir(parents=True)
    own.write_text("model = None\n")
    assert find_config(MIC).resolve() == find_config(f"configs/{MIC}").resolve() == own


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mic/gtaHR2csHR_mic_hdra", "configs/mic/gtaHR2csHR_mic_hrda.py"),
        ("configs/daformer/gta2cs_daformr.py", "configs/daformer/gta2cs_daformer.py"),
        ("csi/synthiaHR2csHR_csi_mic", "configs/csi/synHR2csHR_csi_mic.py"),
        ("MIC/GTAHR2CSHR_MIC_HRDA.PY", "configs/mic/gtaHR2csHR_mic_hrda.py"),
        (f"{'long' * 100}/gtaHR2csHR_mic_hrda", "configs/mic/gtaHR2csHR_mic_hrda.py"),
        ("nothing like it", "Configs are under configs/"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(UserError, match="There is no config|File name too long") as error:
        find_config(name)
    assert nearest in error.value.fix


def test_a_config_of_ones_own_is_nearest_in_its_folder(tmp_path):
    (tmp_path / "my_config.py").write_text("model = None\n")
    with pytest.raises(UserError) as error:
        find_config(tmp_path / "my_confg")
    assert str(tmp_path / "my_config.py") in error.value.fix


def test_fragments_that_nothing_reads_are_dropped_but_ones_own_names(tmp_path):
    base = tmp_path / "base.py"
    base.write_text(f"_base_ = [{str(CONFIGS / '_base_/methods/mic.py')!r}]\nours = 2\n")
    leaf = tmp_path / "leaf.py"
    leaf.write_text("_base_ = ['base.py']\nmine = 3\nuda = dict(masking=_base_.mic)\n")
    config = read_config(leaf).to_dict()
    assert set(config) == {"uda", "ours", "mine"}
    assert config["uda"]["masking"]["block_size"] == 64
