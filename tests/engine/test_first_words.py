"""The log of a run begins with what is wrong; environment and config follow once all is built."""

import pytest
from fixed_run import config

from mmseg_uda.engine import build_runner
from mmseg_uda.errors import UserError

ENVIRONMENT, CONFIG, HOOKS = "System environment:", "Config:", "Hooks "


def log_of(folder):
    (path,) = folder.glob("*/*.log")
    return path.read_text()


def test_a_run_tells_environment_and_config_once(tmp_path):
    runner = build_runner(config(tmp_path, 1, log_level="INFO"))
    assert ENVIRONMENT not in log_of(tmp_path)
    runner.train()
    log = log_of(tmp_path)
    assert log.count(ENVIRONMENT) == log.count(CONFIG) == log.count(HOOKS) == 1
    assert log.index(CONFIG) < log.index("Checkpoints will be saved")


def test_an_evaluation_tells_them_too(tmp_path):
    runner = build_runner(config(tmp_path, 1, log_level="INFO"))
    runner.load_or_resume()
    runner.load_or_resume()
    assert log_of(tmp_path).count(ENVIRONMENT) == 1


@pytest.mark.parametrize("key", ["model.decode_head.type", "train_dataloader.dataset.type"])
def test_a_config_that_cannot_be_built(tmp_path, key):
    cfg = config(tmp_path, 1, log_level="INFO")
    cfg.merge_from_dict({key: "NoSuchThing"})
    with pytest.raises(KeyError, match="NoSuchThing"):
        build_runner(cfg).train()
    logs = list(tmp_path.glob("*/*.log"))
    assert all(CONFIG not in log.read_text() for log in logs)


@pytest.mark.parametrize(
    "key", ["load_from", "model.backbone.init_cfg", "model.decode_head.init_cfg"]
)
def test_weights_that_are_not_there(tmp_path, key):
    file = str(tmp_path / "none.pth")
    cfg = config(tmp_path, 1, log_level="INFO")
    value = file if key == "load_from" else dict(type="Pretrained", checkpoint=file)
    cfg.merge_from_dict({key: value})
    with pytest.raises(UserError, match="none.pth"):
        build_runner(cfg).train()
    assert not [word for word in (ENVIRONMENT, CONFIG, HOOKS) if word in log_of(tmp_path)]
