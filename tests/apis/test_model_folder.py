"""Models published as folders: what is in them, and that they compute what the checkpoint does."""

import ast
import json
import resource
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from adapted import ADAPTERS, BASE, adapted_config, train_adapters, write_base
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file
from tiny_data import write_image

from mmseg_uda.apis import (
    from_pretrained,
    init_segmentor,
    predict,
    publish,
    publish_folder,
    taxonomy_of,
)
from mmseg_uda.apis.alignment import source_of_checkpoint
from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json
from mmseg_uda.models.weights.published import write_weights
from mmseg_uda.system_errors import explain
from mmseg_uda.taxonomy import load_taxonomy

FILES = {"model.safetensors", "config.py", "taxonomy.yaml", "metrics.json", "README.md"}
OWN = """
name: two
classes:
  - {name: "a | b", color: [1, 2, 3], group: all, prompts: [x]}
  - {name: other, color: [4, 5, 6], group: all, thing: true, prompts: [y]}
raw_ids: {files: {7: 0, 9: 1}}
"""


def logits(model, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    return predict(model, image, logits=True).logits


def write_taxonomy(path, name, other):
    """Renames a class."""
    path.write_text(path.read_text().replace(f'name: "{name}"', f'name: "{other}"'))


@pytest.fixture
def run(trained, tmp_path):
    """Folder of a training that has ended: config, checkpoint, validations."""

    def make(kind="daformer", name="gta2cs_daformer_s0", last=7):
        folder = tmp_path / "work_dirs" / name
        folder.mkdir(parents=True)
        config, checkpoint = trained(kind)
        shutil.copy(config, folder / f"{name}.py")
        shutil.copy(checkpoint, folder / f"iter_{last}.pth")
        (folder / "last_checkpoint").write_text(str(folder / f"iter_{last}.pth"))
        scores = dict(mIoU=55.5, aAcc=80.25, IoU={"road": 91.0, "train": None})
        write_json(
            folder / "evaluations.json", [dict(scores, iter=3, mIoU=1), dict(scores, iter=7)]
        )
        return folder

    return make


@pytest.fixture
def tool(monkeypatch, capsys):
    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(f"tools/{name}.py", run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return call


class TestNetwork:
    def test_it_computes_what_the_checkpoint_does(self, kind, trained, tmp_path):
        config, checkpoint = trained(kind)
        folder = publish_folder(checkpoint, tmp_path)
        assert {path.name for path in folder.iterdir()} == FILES
        expected = logits(init_segmentor(config, checkpoint, "cpu"))
        assert expected.std() > 0.1
        for model in (
            init_segmentor(folder, device="cpu"),
            init_segmentor(None, str(folder), "cpu"),
            from_pretrained(folder, device="cpu"),
            init_segmentor(folder / "config.py", folder / "model.safetensors", "cpu"),
        ):
            assert np.array_equal(logits(model), expected) and not model.training

    def test_equal_weights_give_equal_files(self, trained, tmp_path):
        _, checkpoint = trained("daformer")
        one, two = (publish_folder(checkpoint, tmp_path / out) for out in "ab")
        assert all((one / name).read_bytes() == (two / name).read_bytes() for name in FILES)

    def test_half(self, trained, tmp_path):
        _, checkpoint = trained("daformer")
        full, half = (publish_folder(checkpoint, tmp_path, half=h) for h in (False, True))
        assert half.name == f"{full.name}-half"
        sizes = [(one / "model.safetensors").stat().st_size for one in (full, half)]
        assert sizes[1] < 0.7 * sizes[0]
        model = init_segmentor(half, device="cpu")
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert "rounded to float16" not in (full / "README.md").read_text()

    def test_it_is_a_checkpoint_wherever_one_is_read(self, trained, tmp_path):
        """For fine-tuning, and to be published once more."""
        from mmseg.registry import MODELS

        from mmseg_uda.models.weights import load_segmentor_weights

        config, checkpoint = trained("daformer")
        folder = publish_folder(checkpoint, tmp_path)
        segmentor = init_segmentor(config, None, "cpu")
        load_segmentor_weights(segmentor, folder)
        expected = init_segmentor(config, checkpoint, "cpu")
        assert np.array_equal(logits(segmentor), logits(expected))
        assert MODELS.get("SlideEncoderDecoder")
        source_of_checkpoint(config, folder, device="cpu").prepare()
        with pytest.raises(UserError, match="There is no checkpoint .*nowhere"):
            source_of_checkpoint(config, tmp_path / "nowhere", device="cpu").prepare()
        again = publish(folder, tmp_path / "again.pth")
        assert np.array_equal(logits(init_segmentor(None, again, "cpu")), logits(expected))


class TestAdapters:
    @pytest.fixture(autouse=True)
    def base(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MMSEG_UDA_PRETRAINED_ROOT", str(tmp_path))
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing is fetched
        write_base(tmp_path)
        return tmp_path / f"{BASE}.safetensors"

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_whole_and_alone_they_compute_what_the_checkpoint_does(self, kind, tmp_path):
        cfg, checkpoint = train_adapters(kind, tmp_path)
        for part in ("model", "ema_model"):
            expected = logits(init_segmentor(cfg, checkpoint, "cpu", part=part))
            whole = publish_folder(checkpoint, tmp_path / "out", part=part)
            alone = publish_folder(checkpoint, tmp_path / "out", part=part, adapters_only=True)
            assert alone.name == f"{whole.name}-adapters"
            model = init_segmentor(whole, device="cpu")
            assert np.array_equal(logits(model), expected)
            merged = kind != "rein"
            assert ("adapter" in model.cfg.model.backbone) is not merged
            assert np.array_equal(logits(init_segmentor(alone, device="cpu")), expected)

    @pytest.mark.parametrize("kind", ["lora", "rein", "none"])
    def test_alone_they_hold_what_was_trained(self, kind, tmp_path):
        cfg, checkpoint = train_adapters(kind, tmp_path)
        folder = publish_folder(checkpoint, tmp_path, adapters_only=True)
        assert {p.name for p in folder.iterdir()} == FILES - {"model.safetensors"} | {
            "adapters.safetensors"
        }
        stored = load_file(folder / "adapters.safetensors")
        network = init_segmentor(cfg, checkpoint, "cpu")
        trained = {n for n, p in network.named_parameters() if p.requires_grad}
        assert set(stored) == trained | {"backbone.mask_token"}
        assert f"`{BASE}`" in (folder / "README.md").read_text()
        assert np.array_equal(logits(init_segmentor(folder, device="cpu")), logits(network))

    @pytest.mark.parametrize("kind", ["lora", "soma"])
    def test_another_encoder_is_refused_by_name(self, kind, base, tmp_path):
        _, checkpoint = train_adapters(kind, tmp_path)
        folder = publish_folder(checkpoint, tmp_path, adapters_only=True)
        state = load_file(base)
        state["blocks.1.norm1.weight"][3] += 1e-3
        save_file(state, base)
        with pytest.raises(UserError, match=f"(?s)another encoder than the {BASE} found.*pretrain"):
            init_segmentor(folder, device="cpu")
        with pytest.raises(UserError, match=f"(?s)frozen tensors of .*{kind}.pth are not those of"):
            publish_folder(checkpoint, tmp_path / "other", adapters_only=True)
        base.unlink()
        with pytest.raises(
            UserError, match=f"(?s)their encoder {BASE} cannot be loaded.*Put {BASE}"
        ):
            init_segmentor(folder, device="cpu")

    def test_soma_that_was_rounded_otherwise_is_told(self, tmp_path, monkeypatch):
        """Singular values differ in their last digits from machine to machine."""
        cfg, checkpoint = train_adapters("soma", tmp_path)
        content = torch.load(checkpoint, weights_only=True)
        name = "backbone.blocks.0.mlp.fc1.weight"
        for part in ("model", "ema_model"):
            content["state_dict"][f"{part}.{name}"] += 1e-8
        torch.save(content, checkpoint)
        told = []
        module = "mmseg_uda.models.weights.frozen_base"
        monkeypatch.setattr(f"{module}.print_log", lambda text, **_: told.append(text))
        folder = publish_folder(checkpoint, tmp_path, adapters_only=True)
        assert len(told) == 1 and "blocks.0.mlp.fc1.weight" in told[0] and "rounds" in told[0]
        ours, theirs = (
            init_segmentor(*args, device="cpu") for args in ((folder,), (cfg, checkpoint))
        )
        assert np.allclose(logits(ours), logits(theirs), atol=1e-5)

    def test_resized_patches_are_rounded_by_each_machine(self, tmp_path, monkeypatch):
        """The same file is another encoder nowhere, and another file is one all the same."""
        from mmseg_uda.models.weights import vit_names

        sizes = dict(patch_size=8, input_scale=1.0, pos_embed_mode="fixed", fixed_grid=8)
        cfg, checkpoint = train_adapters("lora", tmp_path, **sizes)
        folder = publish_folder(checkpoint, tmp_path / "here", adapters_only=True)
        assert np.array_equal(
            logits(init_segmentor(folder, device="cpu")),
            logits(init_segmentor(cfg, checkpoint, "cpu")),
        )
        for name in ("resize_kernel", "fix_positions"):
            here = getattr(vit_names, name)
            monkeypatch.setattr(vit_names, name, lambda *args, here=here: here(*args) * (1 + 2e-7))
        told = []
        module = "mmseg_uda.models.weights.frozen_base"
        monkeypatch.setattr(f"{module}.print_log", lambda text, **_: told.append(text))
        there = init_segmentor(folder, device="cpu")
        expected = logits(init_segmentor(cfg, checkpoint, "cpu"))
        assert np.allclose(logits(there), expected, atol=1e-4) and not told
        again = publish_folder(checkpoint, tmp_path / "there", adapters_only=True)
        assert len(told) == 1 and "resized patches" in told[0]
        assert np.allclose(logits(init_segmentor(again, device="cpu")), expected, atol=1e-4)

    @pytest.mark.parametrize("given", ["./{0}.safetensors", "../{1}/{0}.safetensors", "{2}/{0}"])
    def test_an_encoder_given_as_a_path_is_found_by_its_name(self, given, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        given = given.format(BASE, tmp_path.name, "pretrained")
        cfg, checkpoint = train_adapters("lora", tmp_path)
        content = torch.load(checkpoint, weights_only=True)
        content["meta"]["cfg"] = cfg.pretty_text.replace(f"'{BASE}'", f"'{given}'")
        assert given in content["meta"]["cfg"]
        torch.save(content, checkpoint)
        folder = publish_folder(checkpoint, tmp_path / "out", adapters_only=True)
        expected = logits(init_segmentor(cfg, checkpoint, "cpu"))
        assert np.array_equal(logits(init_segmentor(folder, device="cpu")), expected)
        assert f"`{BASE}`" in (folder / "README.md").read_text()

    def test_a_file_whose_name_cannot_be_given_is_told(self, base, tmp_path):
        cfg, checkpoint = train_adapters("lora", tmp_path)
        content = torch.load(checkpoint, weights_only=True)
        odd = base.with_name("tiny base.safetensors")
        base.rename(odd)
        content["meta"]["cfg"] = cfg.pretty_text.replace(f"'{BASE}'", f"'{odd}'")
        torch.save(content, checkpoint)
        with pytest.raises(UserError, match="(?s)'tiny base' is no name.*without --adap"):
            publish_folder(checkpoint, tmp_path / "out", adapters_only=True)

    def test_a_name_that_is_a_path_is_refused(self, tmp_path):
        _, checkpoint = train_adapters("lora", tmp_path)
        folder = publish_folder(checkpoint, tmp_path, adapters_only=True)
        file = folder / "adapters.safetensors"
        for name in ("../../x", "/etc/x", "a//b", 3):
            header = json.dumps({"base": {"name": name, "sha256": ""}})
            save_file(load_file(file), file, {"mmseg_uda": header})
            with pytest.raises(UserError, match="names no encoder that its adapters belong to"):
                init_segmentor(folder, device="cpu")
        save_file(load_file(file), file)
        with pytest.raises(UserError, match="does not say which encoder"):
            init_segmentor(folder, device="cpu")

    def test_what_was_trained_as_a_whole_has_none(self, trained, tmp_path):
        with pytest.raises(UserError, match="(?s)has no adapters.*without --adapters-only"):
            publish_folder(trained("daformer")[1], tmp_path, adapters_only=True)
        assert adapted_config("none").model.backbone.trainable == "none"


class TestContent:
    def test_of_a_training(self, run, tmp_path):
        folder = publish_folder(run(), tmp_path / "out")
        assert folder == tmp_path / "out/gta2cs_daformer_s0"
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["metrics"] == {"mIoU": 55.5, "aAcc": 80.25}
        assert metrics["IoU"] == {"road": 91.0, "train": None}
        assert metrics["iter"] == 7 and metrics["network"] == "student"
        assert load_taxonomy(folder / "taxonomy.yaml") == load_taxonomy("cityscapes19")
        config = ast.parse((folder / "config.py").read_text())
        assert all(isinstance(line, ast.Assign) for line in config.body)
        assert str(tmp_path) not in "".join(
            (folder / name).read_text() for name in FILES - {"model.safetensors"}
        )

    def test_the_card(self, run, tmp_path):
        folder = publish_folder(run("hrda"), tmp_path / "out")
        card = ModelCard.load(folder / "README.md")
        assert card.data.library_name == "mmseg_uda"
        assert card.data.pipeline_tag == "image-segmentation"
        (result,) = card.data.eval_results
        assert (result.metric_type, result.metric_value) == ("mean_iou", 55.5)
        text = card.text
        for words in (
            "# gta2cs_daformer_s0",
            "DAFormerHead on NanoBackbone in HRDA",
            "| road | 91.0 |",
            "windows of 64x64, stride 32x32",
            "hoyer2022daformer",
            "hoyer2022hrda",
            'init_segmentor("gta2cs_daformer_s0")',
            "mmseg_uda 0.",
            "Licences",
        ):
            assert words in text, words

    def test_numbers_of_other_weights_are_not_given(self, run, tmp_path):
        """The teacher was not validated; no validation has this step."""
        folder = run()
        teacher = publish_folder(folder, tmp_path, part="ema_model")
        assert teacher.name.endswith("_s0-teacher")
        metrics = json.loads((teacher / "metrics.json").read_text())
        assert metrics["metrics"] == {} and "measure the student" in metrics["note"]
        write_json(folder / "evaluations.json", [dict(iter=3, mIoU=1.0, IoU={})])
        student = publish_folder(folder, tmp_path)
        assert json.loads((student / "metrics.json").read_text())["metrics"] == {}
        card = ModelCard.load(student / "README.md")
        assert card.data.eval_results is None and "No validation of these weights" in card.text

    def test_the_average_of_a_supervised_training(self, run, tmp_path):
        folder = run()
        content = torch.load(folder / "iter_7.pth", weights_only=True)
        content["meta"]["cfg"] += "\nuda = dict(type='Supervised', ema=dict(begin=2))\n"
        torch.save(content, folder / "iter_7.pth")
        last, average = (publish_folder(folder, tmp_path, part=p) for p in ("model", "ema_model"))
        assert average.name == f"{last.name}-average"
        metrics = json.loads((average / "metrics.json").read_text())
        assert metrics["metrics"]["mIoU"] == 55.5
        assert metrics["protocol"].startswith("Average of the weights, DAFormerHead")
        assert "measure the average of the weights" in (last / "README.md").read_text()

    def test_an_interim_state_is_told(self, run, tmp_path, trained):
        folder = run()
        content = torch.load(folder / "iter_7.pth", weights_only=True)
        content["meta"]["cfg"] += "\ntrain_cfg = dict(max_iters=40)\n"
        torch.save(content, folder / "iter_7.pth")
        published = publish_folder(folder, tmp_path)
        assert "Interim numbers: step 7 of 40." in (published / "metrics.json").read_text()
        assert "after 7 of 40 steps, an interim state" in (published / "README.md").read_text()

    def test_own_classes_go_along(self, config_of, trained, tmp_path):
        (tmp_path / "own.yaml").write_text(OWN)
        cfg = config_of("daformer")
        cfg.model.decode_head.num_classes = 2
        cfg.test_evaluator = dict(type="StreamingIoU", taxonomy=str(tmp_path / "own.yaml"))
        cfg.test_dataloader.dataset.taxonomy = str(tmp_path / "own.yaml")
        from trained_nano import save_trained

        save_trained(cfg, tmp_path / "own.pth")
        folder = publish_folder(tmp_path / "own.pth", tmp_path / "out")
        (tmp_path / "own.yaml").unlink()
        model = init_segmentor(folder, device="cpu")
        assert model.dataset_meta["classes"] == ("a | b", "other")
        assert taxonomy_of(model).raw_ids == {"files": {7: 0, 9: 1}}
        assert "a \\| b" in (folder / "README.md").read_text()

    @pytest.mark.parametrize(
        ("checkpoint", "told"),
        [
            ("mit_b5", "NVIDIA source code licence"),
            ("pretrained/mit_b3.pth", "NVIDIA source code licence"),
            ("miniworld/nano_backbone", "made by mmseg_uda from drawn images"),
            ("resnet101_v1c", "is not known here"),
        ],
    )
    def test_the_licence_of_the_encoder(self, checkpoint, told, config_of, trained, tmp_path):
        content = torch.load(trained("daformer")[1], weights_only=True)
        cfg = config_of("daformer")
        cfg.model.backbone.init_cfg = dict(type="BackboneWeights", checkpoint=checkpoint)
        content["meta"]["cfg"] = cfg.pretty_text
        torch.save(content, tmp_path / "licensed.pth")
        folder = publish_folder(tmp_path / "licensed.pth", tmp_path / "out")
        card = ModelCard.load(folder / "README.md")
        assert told in card.text
        known = {"NVIDIA source code licence": "other", "is not known here": None}
        assert card.data.license == known.get(told, "apache-2.0")
        assert card.data.base_model == ("nvidia/mit-b5" if checkpoint == "mit_b5" else None)

    def test_what_a_checkpoint_says_of_itself_is_text(self, config_of, trained, tmp_path):
        """A stranger's checkpoint, published anew."""
        content = torch.load(trained("daformer")[1], weights_only=True)
        cfg = config_of("daformer")
        cfg.work_dir = "work_dirs/../x `y` [z](http://w)"
        cfg.optim_wrapper = dict(optimizer=dict(type="<b>Sgd</b> | [x](y)", lr=1))
        cfg.uda = dict(type="[a](b)", other=3, masking=dict(type="# c\n# d"))
        content["meta"]["cfg"] = cfg.pretty_text
        torch.save(content, tmp_path / "iter_1.pth")
        folder = publish_folder(tmp_path / "iter_1.pth", tmp_path / "out")
        assert folder.parent == tmp_path / "out"
        shown = MarkdownIt().enable("table").render(ModelCard.load(folder / "README.md").text)
        assert not any(mark in shown for mark in ("<a", "<b>", "<h1>d"))
        assert "[x](y)" in shown and "[a](b)" in shown


class TestPlaces:
    def test_it_is_named_after_the_run(self, run, tmp_path, trained):
        folder = run(name="odd name_s0")
        assert publish_folder(folder, tmp_path).name == "odd_name_s0"
        assert publish(folder, f"{tmp_path}/").name.startswith("odd_name_s0-")
        # away from its folder, by what it carries
        shutil.copy(folder / "iter_7.pth", tmp_path / "model.pth")
        content = torch.load(tmp_path / "model.pth", weights_only=True)
        content["meta"]["cfg"] += "\nwork_dir = 'work_dirs/exp90/the_run_s1'\n"
        torch.save(content, tmp_path / "model.pth")
        assert publish_folder(tmp_path / "model.pth", tmp_path).name == "the_run_s1"

    def test_a_teacher_that_is_published_again_keeps_its_mark(self, trained, tmp_path):
        _, checkpoint = trained("daformer")
        teacher = publish_folder(checkpoint, tmp_path / "one", part="ema_model")
        again = publish_folder(teacher, tmp_path / "two")
        assert again.name == teacher.name and teacher.name.endswith("-teacher")
        # what is no name of a network reaches no path
        content = torch.load(checkpoint, weights_only=True)
        content["meta"]["part"] = "/../../x"
        torch.save(content, tmp_path / "other.pth")
        assert publish_folder(tmp_path / "other.pth", tmp_path / "3").parent == tmp_path / "3"

    def test_a_full_disk_is_told(self, tmp_path):
        file = tmp_path / "model.safetensors"
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        try:
            with pytest.raises(OSError) as refused:
                write_weights(file, {"x": torch.zeros(10_000)}, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert str(file) in str(explain(refused.value)) and not list(tmp_path.iterdir())

    def test_nothing_is_replaced_unasked(self, trained, tmp_path):
        _, checkpoint = trained("daformer")
        folder = publish_folder(checkpoint, tmp_path)
        (folder / "README.md").write_text("by hand")
        with pytest.raises(UserError, match="(?s)is there already.*--overwrite"):
            publish_folder(checkpoint, tmp_path)
        assert (folder / "README.md").read_text() == "by hand"
        publish_folder(checkpoint, tmp_path, overwrite=True)
        assert (folder / "README.md").read_text() != "by hand"
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "thesis.tex").touch()
        with pytest.raises(UserError, match="is something else"):
            publish_folder(checkpoint, tmp_path, overwrite=True)

    @pytest.mark.parametrize("name", sorted(FILES - {"metrics.json", "README.md"}))
    def test_a_missing_file_is_named(self, trained, tmp_path, name):
        folder = publish_folder(trained("daformer")[1], tmp_path)
        (folder / name).unlink()
        with pytest.raises(UserError, match=name):
            init_segmentor(folder, device="cpu")

    def test_what_does_not_fit_is_named(self, trained, tmp_path):
        folder = publish_folder(trained("daformer")[1], tmp_path)
        file = folder / "model.safetensors"
        state = load_file(file)
        bias = state.pop("decode_head.conv_seg.bias")
        save_file(state, file)
        with pytest.raises(UserError, match=r"(?s)1 missing: decode_head.conv_seg.bias.*Get it ag"):
            init_segmentor(folder, device="cpu")
        save_file({**state, "decode_head.conv_seg.bias": bias, "more": bias.clone()}, file)
        with pytest.raises(UserError, match="1 unexpected: more"):
            init_segmentor(folder, device="cpu")
        save_file({**state, "decode_head.conv_seg.bias": bias[:3]}, file)
        with pytest.raises(UserError, match=r"1 shape: .*bias: \(3,\) in the file, \(19,\)"):
            init_segmentor(folder, device="cpu")
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(UserError, match="model.safetensors cannot be read as weights"):
            init_segmentor(folder, device="cpu")

    def test_the_config_is_data(self, trained, tmp_path):
        folder, victim = publish_folder(trained("daformer")[1], tmp_path), tmp_path / "victim"
        config = folder / "config.py"
        text = config.read_text()
        for evil in (f"import os\nos.mkdir('{victim}')", f"x = __import__('os').mkdir('{victim}')"):
            config.write_text(f"{text}\n{evil}\n")
            with pytest.raises(UserError, match="config text in .* cannot be read"):
                init_segmentor(folder, device="cpu")
        config.write_text(text.replace("'NanoBackbone'", "'os.mkdir'"))
        with pytest.raises(UserError, match="not registered|name of code"):
            init_segmentor(folder, device="cpu")
        config.write_text("custom_imports = dict(imports=['mmseg_uda.register_all'])\n")
        with pytest.raises(UserError, match="does not say which network"):
            init_segmentor(folder, device="cpu")
        assert not victim.exists()

    def test_other_places(self, run, tmp_path):
        folder = run()
        with pytest.raises(
            UserError, match="(?s)is a folder, but no published model.*tools/publish.py"
        ):
            init_segmentor(folder, device="cpu")
        published = publish_folder(folder, tmp_path)
        with pytest.raises(UserError, match="weights of its own"):
            init_segmentor(published, folder / "iter_7.pth", "cpu")
        with pytest.raises(UserError, match="holds no teacher"):
            init_segmentor(published, device="cpu", part="ema_model")


class TestTools:
    def test_publish(self, tool, run, tmp_path, monkeypatch):
        folder = run()
        status, out, err = tool("publish", folder, tmp_path / "out")
        assert status == 0, err
        assert out.startswith(f"{tmp_path}/out/gta2cs_daformer_s0 (")
        status, out, _ = tool("publish", folder, tmp_path / "out", "--pth")
        assert status == 0 and len(list((tmp_path / "out").glob("gta2cs_daformer_s0-*.pth"))) == 1
        status, _, err = tool("publish", folder, tmp_path / "out")
        assert status == 2 and "is there already" in err
        for options, words in (
            (["--pth", "--push-to-hub", "a/b"], "--push-to-hub is about a folder"),
            (["--write-config", "--adapters-only"], "--adapters-only is about a folder"),
            (["--private"], "--private is about a repository"),
            (["--pth", "--overwrite"], "--overwrite is about a folder"),
            (["--adapters-only"], "has no adapters"),
        ):
            status, _, err = tool("publish", folder, tmp_path / "new", *options)
            assert status == 2 and words in err.replace("\n", " ") and "Traceback" not in err
        assert not (tmp_path / "new").exists()

    def test_options_that_a_sent_folder_would_not_have(self, tool, trained, tmp_path):
        folder = publish_folder(trained("daformer")[1], tmp_path)
        for given, told in (
            (["--half"], "--half"),
            (["--teacher", "--adapters-only"], "--teacher, --adapters-only"),
            ([tmp_path / "out", "--overwrite"], "OUT, --overwrite"),
        ):
            status, _, err = tool("publish", folder, *given, "--push-to-hub", "me/street")
            assert status == 2 and f"sent as it is: {told} would change nothing" in err

    def test_windows_are_those_of_the_published_network(self, tool, trained, tmp_path, monkeypatch):
        config, checkpoint = trained("daformer")
        published = publish_folder(checkpoint, tmp_path)
        other = tmp_path / "other.py"
        other.write_text(config.read_text() + "\ncrop_size = (8, 8)\n")
        seen = []
        monkeypatch.setattr(
            "mmseg_uda.engine.testing.test_checkpoint",
            lambda cfg, *_, **__: seen.append(cfg.model.test_cfg.crop_size) or {"mIoU": 1.0},
        )
        options = ["--inference-mode", "slide", "--work-dir", tmp_path / "work"]
        options += ["--cfg-options", "model.data_preprocessor.size=32,32"]
        for one in (published, checkpoint):
            tool("test", other, one, *options)
        assert seen == [[32, 32], (8, 8)]

    def test_infer_and_test(self, tool, run, tmp_path, monkeypatch):
        folder = run()
        published = publish_folder(folder, tmp_path / "out")
        write_image(tmp_path / "pictures/a.png", 40, 80)
        for number, place in enumerate([[published], [folder]]):
            arguments = (*place, tmp_path / "pictures", "--out", tmp_path / str(number))
            status, _, err = tool("infer", *arguments, "--device", "cpu")
            assert status == 0, err
        pictures = [(tmp_path / n / "ids/a.png").read_bytes() for n in "01"]
        assert pictures[0] == pictures[1]
        status, _, err = tool("infer", published, "--out", tmp_path / "3")
        assert status == 2 and "no images" in err or "required: checkpoint" in err

        status, _, err = tool("test", published)
        assert status == 2 and "names no data to test on" in err
        config = folder / "gta2cs_daformer_s0.py"
        results, told = [], []
        module = "mmseg_uda.models.weights.class_names"
        monkeypatch.setattr(f"{module}.print_log", lambda text, **_: told.append(text))
        write_taxonomy(published / "taxonomy.yaml", "wall", "Mauer")
        for one in (folder / "iter_7.pth", published):
            status, out, err = tool("test", config, one, "--work-dir", tmp_path / "work")
            assert status == 0, err
            results.append(out.splitlines()[-1])
            assert len(told) == (one == published)
        assert results[0] == results[1] and results[0].startswith("mIoU: ")
        assert str(published) in told[0] and "class 3 is 'Mauer' in it and 'wall' here" in told[0]
        init_segmentor(config, published, "cpu")
        assert told[1] == told[0]
        # spelling does not count
        write_taxonomy(published / "taxonomy.yaml", "Mauer", "Wall")
        write_taxonomy(published / "taxonomy.yaml", "traffic light", "trafficlight")
        init_segmentor(config, published, "cpu")
        assert len(told) == 2
