"""When the host reads the verdict on a step."""

import pytest
import torch

from mmseg_uda.engine.finite import FiniteCheck, NonFiniteError


class Event:
    """A CUDA event that is over at once or not before it is waited for."""

    def __init__(self, over):
        self.over = over
        self.waited = 0

    def query(self):
        return self.over

    def synchronize(self):
        self.waited += 1


@pytest.fixture
def steps_until_raised(monkeypatch):
    """Steps after a bad one until it is reported."""

    def run(shared, over):
        events = []

        def on_gpu(values):
            events.append(Event(over))
            return values, events[-1]

        monkeypatch.setattr("mmseg_uda.engine.finite.to_host", on_gpu)
        monkeypatch.setattr("mmseg_uda.engine.finite.get_world_size", lambda: 2 if shared else 1)
        check = FiniteCheck()
        for step in range(20):
            loss = torch.tensor(torch.nan if step == 0 else 1.0)
            try:
                check.note(step, {"loss": loss}, {})
                bad = check.judge(torch.device("cpu"))
                hold = check.decide(bad, torch.tensor(1.0))
            except NonFiniteError as error:
                assert "step 0" in str(error) and events[0].waited == 1
                return step
            assert hold.item() == 1  # the optimizer leaves the parameters alone
        return None

    return run


def test_one_process_reads_as_soon_as_it_can(steps_until_raised):
    assert steps_until_raised(shared=False, over=True) == 0
    assert steps_until_raised(shared=False, over=False) == 7


def test_several_processes_read_after_the_same_number_of_steps(steps_until_raised):
    """Else one would stop while another waits for its gradients."""
    assert steps_until_raised(shared=True, over=True) == 2
    assert steps_until_raised(shared=True, over=False) == 2
