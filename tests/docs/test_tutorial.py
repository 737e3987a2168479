"""The notebook of the documentation runs to its end, in its smallest setting."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tiny_data import write_image

NOTEBOOK = Path(__file__).parents[2] / "docs/tutorial.ipynb"
SMALLEST = 'STEPS = 2\nFRAMES = 2\nFOLDER = "tutorial"'


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def texts(cell):
    """What a cell has printed, and what its last line is worth."""
    return [
        output["text"] if output.output_type == "stream" else output.data.get("text/plain", "")
        for output in cell.outputs
    ]


def pictures(cell):
    """Pictures below a cell."""
    return [o for o in cell.outputs if o.output_type == "display_data" and "image/png" in o.data]


def test_it_is_committed_without_outputs():
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_it_trains_draws_and_adds_a_component(tmp_path, monkeypatch):
    write_image(tmp_path / "data/camvid/val/street.png", 36, 48)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("MMSEG_UDA_DATA_ROOT", "MMSEG_UDA_PRETRAINED_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = read()
    (numbers,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    numbers.source = SMALLEST
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    begins = {cell.source.split("\n")[0]: cell for cell in notebook.cells}
    frames, losses, panels, prediction, component, streets = (
        next(cell for line, cell in begins.items() if line.startswith(begin))
        for begin in ("import matplotlib", "import json", "from IPython", "from mmseg_uda.apis",
                      "from dataclasses", "streets")
    )  # fmt: skip
    assert [len(pictures(c)) for c in (frames, losses, panels, prediction, streets)] == [1] * 5
    assert "mIoU on the target in %: [" in "".join(texts(losses))
    shares = ast.literal_eval(texts(component)[-1])
    assert len(shares) == 2 and all(0 <= share <= 1 for share in shares)
    assert sorted(p.name for p in (tmp_path / "tutorial").glob("d*")) == [
        "daformer",
        "data",
        "distrust",
    ]
