import pytest
import torch
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope("mmseg")
    torch.manual_seed(0)


@pytest.fixture
def no_host_sync(monkeypatch):
    """Make every call that would wait for an accelerator fail."""

    def forbid(name):
        def call(*args, **kwargs):
            raise AssertionError(f"Tensor.{name} waits for the device")

        return call

    names = (
        "item tolist cpu numpy nonzero __bool__ __int__ __float__ __index__ unique masked_select"
    )
    for name in names.split():
        monkeypatch.setattr(torch.Tensor, name, forbid(name))
    original = torch.Tensor.__getitem__

    def getitem(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(p, torch.Tensor) and p.dtype == torch.bool for p in parts):
            raise AssertionError("boolean indexing waits for the device")
        return original(self, index)

    monkeypatch.setattr(torch.Tensor, "__getitem__", getitem)
