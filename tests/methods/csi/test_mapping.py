import dataclasses

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.methods.csi import Entry, Phases, read_mapping, read_phases
from mmseg_uda.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy("cityscapes19")
PHASES = Phases((7999, 11999), (11999, 40000))
TRUCK = {"target": "truck", "source": "car"}


def test_published_phases():
    steps = range(40000)
    assert sum(PHASES.collecting(s) for s in steps) == 4000
    assert sum(PHASES.relabelling(s) for s in steps) == 28001
    assert not PHASES.collecting(7998) and not PHASES.relabelling(7998)
    assert PHASES.collecting(7999) and PHASES.collecting(11998)
    assert PHASES.collected(11999) and PHASES.relabelling(11999) and not PHASES.collecting(11999)


def test_an_earlier_end_leaves_the_last_step_out():
    phases = read_phases((7999, 11999), (11999, 39999))
    assert sum(phases.relabelling(s) for s in range(40000)) == 28000


def test_no_relabelling_switches_everything_off():
    phases = read_phases((7999, 11999), (-1, -1))
    assert phases.off and not phases.collecting(8000)


@pytest.mark.parametrize(
    ("collect", "relabel", "words"),
    [
        ((7999, 12000), (11999, 40000), "after"),
        ((5, 5), (11999, 40000), "empty"),
        ((-1, -1), (40000, 11999), "empty"),
        ((-1, -1), (0.5, 2), "not a range"),
        ((-1, -1), (1, 2, 3), "not a range"),
    ],
)
def test_impossible_phases_are_refused(collect, relabel, words):
    with pytest.raises(UserError, match=words):
        read_phases(collect, relabel)


def test_names_and_ids_are_read_in_order():
    entries = read_mapping(
        [
            {"target": 9, "source": 8, "box_score": 0.01, "crop_score": 0.1},
            TRUCK,
            {"target": "train"},
        ],
        TAXONOMY,
        PHASES,
    )
    assert entries == (
        Entry(9, 8, 0.01, 0.1),
        Entry(14, 13, 0.1, 0.5),
        Entry(16, None, 0.1, 0.5),
    )


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ([], "empty"),
        ([{"target": "lorry", "source": "car"}], "lorry"),
        ([{"target": "truck", "source": 19}], "19"),
        ([{"target": "truck", "source": "truck"}], "both 'truck'"),
        ([TRUCK, {"target": 14, "source": 15}], "twice"),
        ([{"target": "truck", "from": "car"}], "unknown key 'from'"),
        ([{"source": "car"}], "no target"),
        ([{**TRUCK, "box_score": 1.5}], "box_score=1.5"),
        ([{**TRUCK, "box_score": None}], "box_score=None"),
        ([{**TRUCK, "crop_score": "high"}], "crop_score"),
    ],
)
def test_impossible_maps_are_refused(mapping, words):
    with pytest.raises(UserError, match=words):
        read_mapping(mapping, TAXONOMY, PHASES)


def test_an_open_class_needs_a_collection_phase():
    with pytest.raises(UserError, match="no collection phase") as error:
        read_mapping([{"target": "train"}], TAXONOMY, Phases(relabel=(11999, 40000)))
    assert "uda.relabel.collect" in error.value.fix


def test_every_class_needs_a_prompt():
    prompts = (*TAXONOMY.prompts[:15], (), *TAXONOMY.prompts[16:])
    taxonomy = dataclasses.replace(TAXONOMY, prompts=prompts)
    with pytest.raises(UserError, match="'bus'"):
        read_mapping([TRUCK], taxonomy, PHASES)
