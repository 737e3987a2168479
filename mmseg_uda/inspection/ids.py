"""Do the ids of label files mean what the data set's taxonomy and label map say?"""

from __future__ import annotations

from mmseg_uda.findings import Finding

from .data_sets import DataSet


def check_label_space(one: DataSet) -> list[Finding]:
    """Reads taxonomy and label map.

    Raises:
        UserError: One of them is wrong.
    """
    one.taxonomy.lookup(one.label_map)
    return []
