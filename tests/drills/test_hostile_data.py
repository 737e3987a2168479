"""Drill: files that would run something if they were more than data, one per kind of file."""

import json
import os
import pickle
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from tiny_clip import write_clip, write_open_clip
from traps import Trap

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.jobs import JobFolder
from mmseg_uda.foundation import OpenClip, OwlDetector, TransformersClip
from mmseg_uda.foundation.depth_anything import DepthAnything
from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.foundation.masks.precomputed import read_masks
from mmseg_uda.foundation.masks.sam import SegmentAnything, TransformersSam
from mmseg_uda.foundation.text import encode_prompts
from mmseg_uda.foundation.toy import ToyScorer
from mmseg_uda.labels import read_image, read_label
from mmseg_uda.labels.headers import read_header
from mmseg_uda.labels.statistics_files import published_counts
from mmseg_uda.methods.cdda.bank import BankMeta, DepthBank
from mmseg_uda.methods.dynalign.outputs import read_label_map
from mmseg_uda.methods.dynalign.records import read_record, stored_fingerprint
from mmseg_uda.taxonomy import load_taxonomy, load_taxonomy_map
from mmseg_uda.taxonomy.llm_prompts import read_answer

YAML = [
    "!!python/object/apply:os.mkdir [{path!r}]",
    "classes: !!python/object/apply:os.mkdir [{path!r}]",
    "classes: [!!python/object/new:os.mkdir [{path!r}]]",
    "name: !!python/name:os.mkdir",
    "? !!python/object/apply:os.mkdir [{path!r}]\n: 1",
]


@pytest.fixture
def sprung(tmp_path):
    return tmp_path / "the_trap_has_sprung"


@pytest.fixture(autouse=True)
def _nothing_has_sprung(sprung, request):
    yield
    if "the_trap_works" not in request.node.name:
        assert not sprung.exists()


@pytest.mark.parametrize("text", YAML)
@pytest.mark.parametrize("load", [load_taxonomy, load_taxonomy_map])
def test_taxonomies(tmp_path, sprung, load, text):
    path = tmp_path / "stranger.yaml"
    path.write_text(text.format(path=str(sprung)))
    with pytest.raises(UserError, match=r"stranger.yaml is not valid YAML"):
        load(path)


def objects(trap, count=3):
    """An array of objects, which numpy pickles."""
    array = np.empty(count, object)
    array[:] = [trap] * count
    return array


class TestBanks:
    def test_counts_of_objects(self, tmp_path, sprung):
        meta = BankMeta(count=3, num_classes=1, crop_size=(8, 8), counts_sha256="0" * 64)
        (tmp_path / "meta.json").write_text(json.dumps(meta.as_json()))
        np.save(tmp_path / "counts.npy", objects(Trap(sprung)), allow_pickle=True)
        with pytest.raises(UserError, match="bank in .* is damaged"):
            DepthBank.open(tmp_path)

    @pytest.mark.parametrize("save", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x))])
    def test_a_published_matrix(self, tmp_path, sprung, save):
        save(Trap(sprung), tmp_path / "gta_3_distribution.pth")
        with pytest.raises(UserError, match="gta_3_distribution.pth cannot be read"):
            DepthBank.open(tmp_path)


class TestMasks:
    def test_arrays_of_objects(self, tmp_path, sprung):
        MaskSet.from_masks([np.ones((4, 4), bool)], (4, 4)).save(tmp_path / "honest.npz")
        with np.load(tmp_path / "honest.npz") as arrays:
            content = dict(arrays)
        for name in content:
            changed = {**content, name: objects(Trap(sprung))}
            np.savez(tmp_path / "stranger.npz", **changed)
            with pytest.raises(UserError, match="stranger.npz holds no masks"):
                MaskSet.load(tmp_path / "stranger.npz")

    @pytest.mark.parametrize(
        "text", ["__import__('os').mkdir({path!r})", '[{{"segmentation": "__import__"}}]']
    )
    def test_records(self, tmp_path, sprung, text):
        (tmp_path / "stranger.json").write_text(text.format(path=str(sprung)))
        with pytest.raises(UserError, match="stranger.json holds no masks"):
            read_masks(tmp_path / "stranger.json")


class TestCaches:
    def test_a_stage_of_an_alignment(self, tmp_path, sprung):
        path = tmp_path / "stranger.npz"
        np.savez(path, fingerprint=objects(Trap(sprung)), labels=objects(Trap(sprung)))
        assert stored_fingerprint(path) is None
        with pytest.raises(UserError, match="stranger.npz cannot be read"):
            read_record(path)

    def test_text_features_are_made_anew(self, tmp_path, sprung):
        scorer = ToyScorer()
        expected = encode_prompts(scorer, ["a road"], cache=tmp_path)
        (path,) = tmp_path.glob("text-*.npz")
        np.savez(path, features=objects(Trap(sprung), 1))
        assert torch.equal(encode_prompts(scorer, ["a road"], cache=tmp_path), expected)


@pytest.mark.parametrize("form", ["source", "pickle"])
class TestText:
    """JSON is parsed, whatever else stands there."""

    @pytest.fixture
    def path(self, tmp_path, sprung, form):
        path = tmp_path / "stranger.json"
        if form == "source":
            path.write_text(f"__import__('os').mkdir({str(sprung)!r})")
        else:
            path.write_bytes(pickle.dumps(Trap(sprung), protocol=0))  # text
        return path

    def test_label_statistics(self, path):
        with pytest.raises(UserError, match="stranger.json is not a list of class counts"):
            published_counts(path, ["a.png"])

    def test_a_jobs_notes(self, path):
        folder = path.parent / "job"
        folder.mkdir()
        for name in ("status.json", "progress.json", "evaluations.json"):
            shutil.copy(path, folder / name)
        job = JobFolder(folder)
        for read in (job.status, job.evaluations):
            with pytest.raises(UserError, match=r"job/\w+\.json is damaged"):
                read()
        assert job.progress() == {}

    def test_a_language_models_answer(self, path):
        with pytest.raises(UserError, match="stranger.json holds no JSON object"):
            read_answer(path.read_text(), path)


class TestFoundationModels:
    """A folder of weights may bring Python files; they stay unread."""

    @pytest.fixture
    def module(self, tmp_path, sprung):
        """Writes a module that springs beside a model."""

        def write(folder):
            text = f"import os\nos.mkdir({str(sprung)!r})\n"
            (folder / "stranger.py").write_text(f"{text}class Thing:\n    pass\n")

        return write

    @pytest.mark.parametrize(
        "adapter",
        [OwlDetector, TransformersClip, DepthAnything, lambda name: TransformersSam(name, "fp32")],
        ids=["owl", "clip", "depth", "sam"],
    )
    def test_classes_beside_the_weights(self, tmp_path, module, adapter, monkeypatch):
        monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run code"))
        config = {"model_type": "strange", "auto_map": {"AutoConfig": "stranger.Thing"}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        module(tmp_path)
        with pytest.raises(UserError, match="contains custom code"):
            adapter(str(tmp_path)).network.get()

    @pytest.mark.parametrize(
        "value", ["stranger/attention", {"vision_config": "stranger/attention"}]
    )
    def test_attention_from_the_hub(self, tmp_path, value):
        config = {"model_type": "clip", "attn_implementation": value}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match="config.json of .* asks for code"):
            TransformersClip(str(tmp_path)).load()

    def test_a_tokenizer_that_asks_to_be_trusted(self, tmp_path, module):
        """open_clip hands the options in its config on to transformers."""
        write_open_clip(tmp_path)
        config = json.loads((tmp_path / "open_clip_config.json").read_text())
        config["model_cfg"]["text_cfg"] |= {
            "hf_tokenizer_name": "stranger",
            "tokenizer_kwargs": {"trust_remote_code": True},
        }
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        tokenizer = {"auto_map": {"AutoTokenizer": ["stranger.Thing", None]}}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
        module(tmp_path)
        with pytest.raises(UserError, match="contains custom code"):
            OpenClip(str(tmp_path)).load()

    @pytest.mark.parametrize(
        "write, adapter, name",
        [
            (write_clip, TransformersClip, "pytorch_model.bin"),
            (write_open_clip, OpenClip, "open_clip_pytorch_model.bin"),
        ],
    )
    def test_pickled_weights(self, tmp_path, sprung, write, adapter, name):
        write(tmp_path)
        for file in tmp_path.glob("*.safetensors"):
            file.unlink()
        torch.save(dict(weight=Trap(sprung)), tmp_path / name)
        with pytest.raises(UserError, match="is a pickle that is not weights: .*mkdir"):
            adapter(str(tmp_path)).load()

    def test_weights_of_segment_anything(self, tmp_path, sprung):
        torch.save(dict(weight=Trap(sprung)), tmp_path / "sam.pth")
        with pytest.raises(UserError, match="sam.pth is a pickle that is not weights: .*mkdir"):
            SegmentAnything(str(tmp_path / "sam.pth"), "vit_b", "fp32").load()


class TestImages:
    """PostScript under an image's name: Pillow would have Ghostscript run it."""

    @pytest.fixture
    def picture(self, tmp_path, sprung, monkeypatch):
        program = tmp_path / "bin/gs"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\nmkdir {sprung}\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
        path = tmp_path / "stranger.png"
        Image.new("L", (8, 8)).save(path, format="EPS")
        return path

    @pytest.mark.parametrize("read", [read_label, read_image, read_label_map, read_header])
    def test_it_is_no_image(self, picture, read):
        with pytest.raises(UserError, match="stranger.png (is no image|cannot be decoded)"):
            read(picture)

    def test_the_trap_works(self, picture, sprung):
        with pytest.raises(subprocess.CalledProcessError), Image.open(picture) as image:
            image.load()
        assert sprung.exists()
