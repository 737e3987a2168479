"""Published models on the hub: sent, found by revision, kept, refused."""

import errno
import json
import runpy
import sys

import numpy as np
import pytest
import torch
from fake_hub import hub_for
from tiny_data import write_image

from mmseg_uda.apis import from_pretrained, init_segmentor, publish_folder
from mmseg_uda.errors import UserError
from mmseg_uda.hub_repositories import fetch_repository, hub_address, send_folder
from mmseg_uda.models.weights.pretrained import fetch_weights


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_for(monkeypatch, tmp_path / "cache") as hub:
        yield hub


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a tool in this process; returns exit status and what it printed."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(f"tools/{name}.py", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return call


def equal(one, other):
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_a_model_is_sent_and_loads_by_its_address(hub, tool, trained, tmp_path):
    _, checkpoint = trained("daformer")
    status, out, err = tool("publish", checkpoint, tmp_path / "p", "--push-to-hub", "me/street")
    assert status == 0, err
    (folder,) = (tmp_path / "p").iterdir()
    assert out.splitlines()[-1] == f"{hub.url}/me/street"
    sent = hub.files("me/street")[1]
    assert sent == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert b'init_segmentor("hf://me/street")' in sent["README.md"]
    model = from_pretrained("hf://me/street", device="cpu")
    assert equal(model, init_segmentor(*trained("daformer"), "cpu"))

    write_image(tmp_path / "street.png", 40, 80)
    arguments = ("hf://me/street", tmp_path / "street.png", "--out", tmp_path / "out")
    assert tool("infer", *arguments, "--device", "cpu")[0] == 0
    assert (tmp_path / "out/ids/street.png").is_file()


def test_revisions_and_what_a_later_form_replaces(hub, trained, tmp_path):
    _, checkpoint = trained("daformer")
    parts = ("model", "ema_model")
    student, teacher = (publish_folder(checkpoint, tmp_path, part=part) for part in parts)
    names = ("adapters.safetensors", "model.safetensors")
    send_folder(student, "me/street", replaces=names)
    hub.tags["v1"] = len(hub.commits["me/street"]) - 1
    hub.commits["me/street"][-1]["adapters.safetensors"] = b"of an earlier form"
    hub.commits["me/street"][-1]["notes.txt"] = b"kept"
    send_folder(teacher, "me/street", replaces=names)
    assert not hub.private["me/street"]
    assert hub.files("me/street")[1].keys() == {
        *(path.name for path in teacher.iterdir()),
        "notes.txt",
    }
    first, last = (init_segmentor(f"hf://me/street{at}", device="cpu") for at in ("@v1", ""))
    assert equal(first, init_segmentor(student, device="cpu"))
    assert equal(last, init_segmentor(teacher, device="cpu")) and not equal(first, last)
    with pytest.raises(UserError, match="(?s)has no such revision.*branch, tag or commit"):
        init_segmentor("hf://me/street@v2", device="cpu")


def test_what_is_published_is_sent_as_it_is(hub, tool, trained, tmp_path):
    folder = publish_folder(trained("daformer")[1], tmp_path)
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nBy hand.\n")
    status, _, err = tool("publish", folder, "--push-to-hub", "me/hidden", "--private")
    assert status == 0, err
    assert hub.private["me/hidden"]
    assert hub.files("me/hidden")[1]["README.md"].endswith(b"\nBy hand.\n")
    assert list(tmp_path.glob("*")) == [folder]


def test_the_cache_serves_where_there_is_no_network(hub, trained, tmp_path, monkeypatch):
    send_folder(publish_folder(trained("daformer")[1], tmp_path), "me/street")
    model = init_segmentor("hf://me/street", device="cpu")
    # connections that are kept open would still be answered
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert equal(model, init_segmentor("hf://me/street", device="cpu"))
    with pytest.raises(UserError, match="(?s)hf://me/other.*cannot be reached.*hf download me/oth"):
        init_segmentor("hf://me/other", device="cpu")
    with pytest.raises(UserError, match="(?s)is written but cannot be sent.*cannot be reached"):
        send_folder(tmp_path, "me/street")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="hf://me/other cannot be fetched"):
        init_segmentor("hf://me/other", device="cpu")


def test_who_may_not_is_told(hub, trained, tmp_path, monkeypatch):
    folder = publish_folder(trained("daformer")[1], tmp_path)
    send_folder(folder, "me/hidden", private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="(?s)no such repository, or you may not read.*hf auth log"):
        init_segmentor("hf://me/hidden", device="cpu")
    with pytest.raises(UserError, match="(?s)me.* is written but cannot be sent.*hf auth login"):
        send_folder(folder, "me/hidden")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_what_this_machine_refuses_is_no_matter_of_the_network(hub, tmp_path, monkeypatch, number):
    place = tmp_path / "cache/x"

    def refuse(*_, **__):
        raise OSError(number, "refused", str(place))

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    for call in (
        lambda: init_segmentor("hf://me/street", device="cpu"),
        lambda: send_folder(tmp_path, "me/street"),
        lambda: fetch_weights("resnet50_v1c"),
    ):
        with pytest.raises(UserError) as told:
            call()
        assert str(place) in told.value.message and "download" not in str(told.value)
        assert "cannot be reached" not in told.value.message and told.value.fix


def test_a_repository_of_something_else(hub, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/pytorch_model.bin").write_bytes(b"1")
    send_folder(tmp_path / "other", "me/other")
    with pytest.raises(UserError, match="hf://me/other"):
        init_segmentor("hf://me/other", device="cpu")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.safetensors").write_bytes(b"1")
    send_folder(tmp_path / "weights", "me/weights")
    with pytest.raises(UserError, match=r"is incomplete: config\.py is missing"):
        init_segmentor("hf://me/weights", device="cpu")


def test_only_what_is_read_is_fetched(hub, trained, tmp_path):
    folder = publish_folder(trained("daformer")[1], tmp_path)
    (folder / "events.log").write_text("x")
    send_folder(folder, "me/street")
    wanted = ("model.safetensors", "config.py")
    fetched = fetch_repository(hub_address("hf://me/street"), wanted)
    assert {path.name for path in fetched.iterdir()} == set(wanted)


@pytest.mark.parametrize("text", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b@", "hf://../b"])
def test_no_address(text):
    with pytest.raises(UserError, match="(?s)no address of a model.*hf://owner/name@revision"):
        init_segmentor(text, device="cpu")


@pytest.mark.parametrize("name", ["a/b/c", "../b", "a b", "-a/b"])
def test_no_repository(tool, trained, tmp_path, name):
    arguments = (trained("daformer")[1], tmp_path / "p", f"--push-to-hub={name}")
    status, _, err = tool("publish", *arguments)
    assert status == 2 and "no name of a repository" in err and not (tmp_path / "p").exists()


def test_the_stand_in_takes_what_the_client_sends(hub, trained, tmp_path):
    """Weights as large files, the rest within the commit: as on the hub."""
    folder = publish_folder(trained("daformer")[1], tmp_path)
    send_folder(folder, "me/street")
    methods = [method for method, path in hub.requests if path.startswith("/objects/")]
    assert methods == ["PUT"]
    metrics = json.loads(hub.files("me/street")[1]["metrics.json"])
    assert metrics["network"] == "student" and np.isfinite(metrics["iter"])
