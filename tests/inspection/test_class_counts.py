"""The number of classes follows the taxonomy of the training data, unless it is given."""

import pytest

from mmseg_uda.apis.config_view import explain_config
from mmseg_uda.engine.config_file import load_config
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.inspection import inspect_config

SOURCE = """_base_ = ["mmseg_uda::{base}"]
taxonomy = "{root}/two.yaml"
data = dict(type="TaxonomyDataset", data_root="x", img_dir="i", label_dir="l", taxonomy=taxonomy)
train_dataloader = dict(dataset=dict(source=dict(_delete_=True, **data)))
{more}
"""
DAFORMER = "daformer/gta2cs_daformer.py"


def write(world, base=DAFORMER, more=""):
    path = world.root / "mine.py"
    path.write_text(SOURCE.format(base=base, root=world.root, more=more))
    return path


@pytest.mark.parametrize(
    ("base", "keys"),
    [
        (DAFORMER, ["decode_head"]),
        ("mic/gtaHR2csHR_mic_hrda.py", ["decode_head"]),
        ("srha/dgbase_r50-os16_b16-40k_gta2cbm.py", ["decode_head", "auxiliary_head"]),
        ("_base_/networks/mask2former_r50-os16.py", ["decode_head"]),
    ],
)
def test_networks_of_the_package_follow(world, base, keys):
    path = write(world, base)
    for config in (load_config(path), plain_config(path)):
        assert [config["model"][key]["num_classes"] for key in keys] == [2] * len(keys)
    (shown,) = explain_config(path, f"model.{keys[0]}.num_classes")
    assert shown.value == 2 and "taxonomy" in shown.origin


@pytest.mark.parametrize(
    "given",
    [
        "model = dict(decode_head=dict(num_classes=19))",
        "model = {'decode_head': {'num_classes': 19}}",
        "from mmengine.config import ConfigDict\nmodel = ConfigDict(decode_head=ConfigDict())\n"
        "model.decode_head.num_classes = 19",
    ],
)
def test_a_number_that_is_given_stays_and_is_refused(world, given):
    config = load_config(write(world, more=given))
    assert config.model.decode_head.num_classes == 19
    assert any("num_classes=19" in f.message for f in inspect_config(config))


def test_a_comment_gives_no_number(world):
    assert load_config(write(world, more="# num_classes=19")).model.decode_head.num_classes == 2


def test_a_base_of_the_users_own_gives_it(world):
    base = "_base_ = 'mmseg_uda::_base_/networks/segformer_mitb5.py'\n"
    (world.root / "net.py").write_text(base + "model = dict(decode_head=dict(num_classes=7))")
    path = write(world)
    path.write_text(path.read_text().replace(f"mmseg_uda::{DAFORMER}", "net.py"))
    assert load_config(path).model.decode_head.num_classes == 7


def test_options_on_the_command_line(world):
    path = write(world)
    given = load_config(path, ["model.decode_head.num_classes=5"])
    assert given.model.decode_head.num_classes == 5
    other = load_config(path, ["train_dataloader.dataset.source.taxonomy=cityscapes19"])
    assert other.model.decode_head.num_classes == 19


def test_published_configs_keep_theirs():
    for name, number in {"daformer/gta2cs_daformer": 19, "dynalign/gta2idd_retrain": 26}.items():
        assert load_config(name).model.decode_head.num_classes == number
