"""The config of docs/real_images.md reads own photographs beside rendered streets."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.data_root import VARIABLE
from mmseg_uda.engine.config_file import load_config
from mmseg_uda.findings import Level
from mmseg_uda.inspection import inspect_start

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/real_images.md").read_text(encoding="utf-8")
((NAME, TEXT),) = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.S)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the page's config, drawn pictures and streets."""
    (tmp_path / NAME).write_text(TEXT, encoding="utf-8")
    streets = tmp_path / "data/streets/gta"
    for i in range(3):
        write_image(tmp_path / f"data/mycity/pictures/{i}.jpg", 90, 120, seed=i)
        write_image(streets / f"images/{i:05d}.png", 64, 128, seed=10 + i)
        ids = np.kron(np.arange(32).reshape(4, 8) % 19, np.ones((16, 16)))
        write_label(streets / f"labels/{i:05d}_labelTrainIds.png", ids)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


def test_own_photographs(project):
    config = load_config(NAME)
    found = inspect_start([config.to_dict()])
    assert [str(one) for one in found if one.level is not Level.OK] == []
    assert config.val_dataloader is None and config.model.decode_head.num_classes == 11
    pair = DATASETS.build(config.train_dataloader.dataset)[(0, 0)]
    assert pair["target"]["inputs"].shape == pair["source"]["inputs"].shape == (3, 160, 160)
    assert "gt_sem_seg" not in pair["target"]["data_samples"]
    tested = DATASETS.build(config.test_dataloader.dataset)
    assert len(tested) == 3 and tested[0]["inputs"].shape == (3, 240, 320)
