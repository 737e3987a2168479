from pathlib import Path

import pytest

from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.experiments.grid import find_experiment
from mmseg_uda.experiments.plan import Options, plan

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NUMBERS = {"daformer": 4, "hrda": 4, "mic": 4, "csi": 9, "cdda": 6}
FINAL = sorted(path for room in NUMBERS for path in (CONFIGS / room).glob("*.py"))

# Final configs that are rows of the tables: experiment, row, seed.
ROWS = {
    "csi/syn2cs_csi_daformer": (90, 2, 0),
    "csi/synHR2csHR_csi_hrda": (90, 4, 0),
    "csi/synHR2csHR_csi_mic": (90, 6, 0),
    "csi/gta162cs_csi_daformer": (93, 2, 0),
    "csi/gta16HR2csHR_csi_mic": (93, 4, 0),
    "csi/synHR2acdcHR_csi_mic": (94, 4, 0),
    "cdda/synthia2cs_cdda_daformer": (300, 2, 0),
    "cdda/synthiaHR2csHR_cdda_hrda": (300, 4, 1),
    "cdda/synthiaHR2csHR_cdda_mic": (300, 6, 2),
    "cdda/gta2cs_cdda_daformer": (301, 2, 0),
    "cdda/gtaHR2csHR_cdda_hrda": (301, 4, 1),
    "cdda/gtaHR2csHR_cdda_mic": (301, 6, 2),
}


def test_there_is_one_per_method_and_benchmark():
    assert {room: len(list((CONFIGS / room).glob("*.py"))) for room in NUMBERS} == NUMBERS


@pytest.mark.parametrize("path", FINAL, ids=lambda path: path.stem)
def test_it_reads_and_is_annotated(path):
    assert path.read_text().startswith("# ")
    config = plain_config(path)
    assert config["uda"]["type"] == "SelfTraining"
    assert config["uda"]["alpha"] == 0.999
    assert ("masking" in config["uda"]) == ("_mic" in path.stem)
    assert ("relabel" in config["uda"]) == ("_csi" in path.stem)
    assert ("depth" in config["uda"]) == ("_cdda" in path.stem)
    assert (config["model"]["type"] == "HRDAEncoderDecoder") == ("HR2" in path.stem)
    # only CSI's recipe averages over labelled pixels
    average = config["model"]["decode_head"]["loss_decode"]["avg_non_ignore"]
    assert average is ("_csi" in path.stem)


@pytest.mark.parametrize("name", ROWS)
def test_it_is_the_tables_row(name, tables, tmp_path):
    number, row, seed = ROWS[name]
    experiment = find_experiment(tables, number)
    (job,) = plan(experiment, experiment.jobs([row], [seed]), Options(work_dir=tmp_path))
    assert plain_config(CONFIGS / f"{name}.py") == job.resolved


# Thresholds, decay and bank as published.
PUBLISHED = {
    "gta2cs_cdda_daformer": (0.56, 0.54, 0.0025, "gta_daformer", 24966),
    "gtaHR2csHR_cdda_hrda": (0.56, 0.54, 0.003, "gta_hrda", 24966),
    "gtaHR2csHR_cdda_mic": (0.56, 0.54, 0.003, "gta_mic", 24966),
    "synthia2cs_cdda_daformer": (0.49, 0.47, 0.001, "synthia_daformer", 9400),
    "synthiaHR2csHR_cdda_hrda": (0.49, 0.47, 0.002, "synthia_hrda", 9400),
    "synthiaHR2csHR_cdda_mic": (0.49, 0.47, 0.002, "synthia_mic", 9400),
}


@pytest.mark.parametrize("stem", PUBLISHED)
def test_cdda_has_its_published_values(stem):
    config = plain_config(CONFIGS / f"cdda/{stem}.py")
    depth = config["uda"]["depth"]
    names = ("reweight_threshold", "relabel_threshold", "threshold_decay", "bank")
    found = [depth[name] for name in names] + [depth["build"]["count"]]
    *numbers, bank, count = PUBLISHED[stem]
    assert found == [*numbers, f"preprocessed/{bank}", count]
    assert config["train_cfg"]["val_interval"] == 1000
    assert config["default_hooks"]["checkpoint"]["save_best"] == "mIoU"
    loaders = config["train_dataloader"]["dataset"]["target"]["pipeline"]
    types = [step["type"] for step in loaders]
    assert types.index("LoadRemappedDepth") == types.index("ResizeFields") + 1
    source = config["train_dataloader"]["dataset"]["source"]["pipeline"]
    assert "LoadRemappedDepth" not in [step["type"] for step in source]


@pytest.mark.parametrize(
    ("path", "mode", "margins"),
    [
        ("mic/gtaHR2csHR_mic_hrda.py", "separatetrgaug", [30, 240, 30, 30]),
        ("mic/csHR2acdcHR_mic_hrda.py", "separate", None),
    ],
)
def test_mic_masks_and_margins_depend_on_the_benchmark(path, mode, margins):
    config = plain_config(CONFIGS / path)
    assert config["uda"]["masking"]["mode"] == mode
    target = config["train_dataloader"]["dataset"]["target"]
    assert target.get("crop_pseudo_margins") == margins
