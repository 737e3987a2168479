import os
import sys
import types

import pytest

from mmseg_uda import hub
from mmseg_uda.errors import UserError
from mmseg_uda.foundation.lazy import find_checkpoint, find_file, loading


@pytest.fixture
def probes(monkeypatch):
    """Switches the network off; returns the addresses that were probed."""
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise OSError("no network")

    for name in (*hub.PROXIES, "HF_ENDPOINT", hub.OFFLINE):
        monkeypatch.setenv(name, "")  # so that it is as before at the end
        monkeypatch.delenv(name)
    constants = types.SimpleNamespace(HF_HUB_OFFLINE=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    monkeypatch.setattr(hub.socket, "create_connection", refuse)
    hub._answers.cache_clear()
    yield asked
    hub._answers.cache_clear()


def test_without_network_the_cache_is_used_also_by_a_package_that_is_loaded(probes):
    hub.settle_for_cache_when_offline()
    assert probes == [hub.HUB]
    assert os.environ[hub.OFFLINE] == "1"
    assert sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE is True


def test_with_network_nothing_changes_and_it_is_asked_once(probes, monkeypatch):
    class Connection:
        def close(self):
            pass

    def connect(address, timeout):
        probes.append(address)
        return Connection()

    monkeypatch.setattr(hub.socket, "create_connection", connect)
    for _ in range(3):
        hub.settle_for_cache_when_offline()
    assert len(probes) == 1
    assert hub.OFFLINE not in os.environ


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HF_ENDPOINT", hub.OFFLINE])
def test_a_proxy_or_a_setting_of_the_user_is_respected(probes, monkeypatch, name):
    monkeypatch.setenv(name, "0")
    hub.settle_for_cache_when_offline()
    assert not probes


def test_the_hub_is_probed_only_for_models_that_are_not_here(probes, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained" / "here").mkdir(parents=True)
    with loading("someone/here", "weights"):
        pass
    assert not probes
    expected = pytest.raises(UserError, match="Put weights into the folder pretrained/there")
    with expected, loading("someone/there", "weights"):
        raise OSError("no such model")
    assert probes == [hub.HUB]


@pytest.mark.parametrize("name", ["openai/some-clip", "pretrained/some-clip", "some-clip"])
def test_foundation_models_are_found_in_the_folder_of_the_variable(tmp_path, monkeypatch, name):
    monkeypatch.setenv(hub.PRETRAINED_ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "some-clip").mkdir()
    assert find_checkpoint(name) == (str(tmp_path / "some-clip"), True)
    (tmp_path / "sam.pth").touch()
    assert find_file("pretrained/sam.pth") == tmp_path / "sam.pth"
