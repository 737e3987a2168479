"""The scorer on a GPU decides as on the CPU."""

import numpy as np
import pytest
import torch
import toy_alignment as toy

from mmseg_uda.apis import align

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("crops", ["fast", "exact"])
def test_labels_on_both_devices_agree(tmp_path, crops):
    image, taxonomy = toy.picture(*toy.COLORS.values()), toy.taxonomy(tmp_path)
    found = [
        align(
            image,
            toy.halves(),
            taxonomy,
            proposer=dict(type="grid", cell=toy.CELL),
            scorer=dict(type="toy", table=toy.TABLE, input_size=8),
            device=device,
            channel_order="rgb",
            **toy.OPTIONS,
            crops=crops,
        )
        for device in ("cpu", "cuda")
    ]
    assert found[0].pred_sem_seg.data.equal(found[1].pred_sem_seg.data)
    scores = [sample.regions.scores.cpu().numpy() for sample in found]
    assert np.allclose(scores[0], scores[1], atol=1e-3)
