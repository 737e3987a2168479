"""Whatever reads a file that the user names ends at pipes, devices and folders."""

import photographs
import pytest

from mmseg_uda.engine.config_file import load_config
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.configs import plain_config
from mmseg_uda.files import read_json
from mmseg_uda.models.weights import read_checkpoint
from mmseg_uda.regular_files import read_bytes, read_text
from mmseg_uda.taxonomy import import_answers
from mmseg_uda.taxonomy.file_lists import read_list


def answers(path):
    import_answers(path, None, "cityscapes19", "idd26", path.with_name("map.yaml"))


READERS = {
    ".png": read_bytes,
    ".txt": read_text,
    ".lst": read_list,
    ".py": load_config,
    ".cfg.py": plain_config,
    ".pth": read_checkpoint,
    ".json": answers,
}


@pytest.mark.parametrize("put", photographs.NO_FILES)
@pytest.mark.parametrize("suffix", READERS)
def test_what_is_no_file(tmp_path, suffix, put):
    path = tmp_path / f"x{suffix}"
    put(path)
    with pytest.raises(UserError, match=f"{path} .*{photographs.NO_FILES[put]}"):
        READERS[suffix](path)


@pytest.mark.parametrize("put", photographs.NO_FILES)
def test_a_record_that_is_no_file_is_none(tmp_path, put):
    put(tmp_path / "x.json")
    assert read_json(tmp_path / "x.json") is None


def test_text_in_another_encoding(tmp_path):
    (tmp_path / "x.txt").write_bytes("Straße".encode("latin1"))
    with pytest.raises(UserError, match="x.txt is no text in UTF-8"):
        read_text(tmp_path / "x.txt")
