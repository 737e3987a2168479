"""The paper configs' data pipelines on frames of the real data sets' sizes and formats."""

import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.experiments.plan import Options, plan
from mmseg_uda.miniworld import WorldOptions, ensure_miniworld

SIZES = {  # width, height
    "gta": (1914, 1052),
    "synthia": (1280, 760),
    "cityscapes": (2048, 1024),
    "acdc": (1920, 1080),
}
# Rows of the hosts' tables whose data no other table has: crops inside crops, the oracle, and
# Cityscapes as source, also of itself.
HOSTS = {42: [1], 43: [7], 49: [1], 85: [1]}
PAPERS = ("DAFormer", "HRDA", "MIC")
ALONE = {43: {"target"}}


@pytest.fixture(scope="module")
def full_size_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("full_size")
    for domain, (width, height) in SIZES.items():
        counts = {
            domain: {"train": 2, "val": 1} if domain in ("cityscapes", "acdc") else {"train": 2}
        }
        options = WorldOptions(width=width, height=height, counts=counts)
        ensure_miniworld(root, weights=None, options=options, domains=[domain], workers=1)
    return root


def test_every_papers_pipeline(tables, tmp_path, full_size_data, monkeypatch):
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(full_size_data))
    seen = set()
    # test_unseen_configs.py, test_aligned_dataset.py, test_camvid_table.py
    others = ("SRHA", "SoMA", "DynAlign", "Real images")
    adaptation = [table for table in tables if table.paper not in others]
    for experiment in adaptation:
        rows = HOSTS.get(experiment.id, []) if experiment.paper in PAPERS else None
        for one in plan(experiment, experiment.jobs(rows, [0]), Options(work_dir=tmp_path)):
            config = Config(one.resolved)
            text = repr((config.train_dataloader.dataset, config.val_dataloader.dataset))
            if text in seen:  # rows share data
                continue
            seen.add(text)
            if "DarkZurich" in text:  # its frames are not rendered
                continue
            crop = tuple(config.model.data_preprocessor.size)
            pair = DATASETS.build(config.train_dataloader.dataset)[(0, 0)]
            alone = ALONE.get(experiment.id, set())
            if experiment.paper == "VFM-UDA" and "only" in one.job.row.label:
                alone = {"target"}
            assert set(pair) == {"source", "target"} - alone
            for domain in pair.values():
                assert all(a <= b for a, b in zip(domain["inputs"].shape[1:], crop, strict=True))
            source = pair["source"]["data_samples"]
            assert source.gt_sem_seg.shape == pair["source"]["inputs"].shape[1:]
            if "target" in pair:
                target = config.train_dataloader.dataset.target
                margins = "crop_pseudo_margins" in target or "shares" in target.pipeline[1]
                assert ("valid_mask" in pair["target"]["data_samples"]) == margins
            frame = DATASETS.build(config.val_dataloader.dataset)[0]
            # Labels stay at native resolution.
            native = SIZES["acdc" if "ACDC" in text else "cityscapes"]
            assert frame["data_samples"].gt_sem_seg.shape == native[::-1]
    assert len(seen) >= 6
