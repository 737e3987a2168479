"""model-index.yml and metafiles say what configs, tables and cards say."""

from pathlib import Path

import pytest
import yaml

from mmseg_uda.config_files import final_configs
from mmseg_uda.experiments.grid import Experiment, Reported, Row
from mmseg_uda.experiments.metafiles import INDEX, metafiles

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models():
    index = yaml.safe_load((ROOT / INDEX).read_text(encoding="utf-8"))
    files = [yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in index["Import"]]
    known = {one["Name"] for file in files for one in file["Collections"]}
    found = [model for file in files for model in file["Models"]]
    assert {model["In Collection"] for model in found} == known
    return {model["Name"]: model for model in found}


def test_they_are_up_to_date(tables):
    for path, text in metafiles(tables, ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, "run tools/make_metafiles.py"


def test_every_config_is_in_them(models):
    there = {(ROOT / model["Config"]) for model in models.values()}
    assert there == set(final_configs()) and len(models) == len(there)


def test_published_numbers(models):
    assert models["gtaHR2csHR_mic_hrda"]["Results"] == {
        "Task": "Semantic Segmentation", "Dataset": "Cityscapes", "Metrics": {"mIoU": 75.9}
    }  # fmt: skip
    assert models["gta2cs_daformer"]["Results"]["Metrics"] == {
        "mIoU": 68.3
    }  # of a row with changes
    assert models["gtaHR2csHR_cdda_hrda"]["Metadata"]["Published"].startswith("best of 40")
    assert "Results" not in models["gta2cs_advseg_dlv2"]


def test_numbers_of_changed_rows_and_unverified_ones_stay_out():
    config = "minent/gta2cs_minent_dlv2"

    def miou(*rows):
        files = metafiles([Experiment("x", "", "", "", rows)], ROOT)
        (model,) = yaml.safe_load(files[Path("configs/minent/metafile.yml")])["Models"]
        return model.get("Results", {}).get("Metrics")

    number = Reported({"mIoU": 51.0, "IoU.road": 90.0}, "README")
    assert miou(Row("as it is", config, reported=number)) == {"mIoU": 51.0}
    assert miou(Row("changed", config, {"randomness.seed": 7}, number)) is None
    assert miou(Row("of memory", config, reported=Reported({"mIoU": 9.0}, "", False))) is None
