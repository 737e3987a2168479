"""Whole steps with depth, in one process and in several."""

import numpy as np
import process_tasks
import torch
from depth_world import blocks, write_bank
from mmengine.structures import PixelData
from nano import random_batch

SIZE = process_tasks.SIZE
CAR = process_tasks.CAR
OPEN = dict(reweight_threshold=-1.0, relabel_threshold=-1.0)


def car_bank(folder):
    """Two crops with cars at depth 20 and something else at depths 20 and 90."""
    labels = [blocks(seed, *SIZE, [CAR, CAR, CAR, 0, 8], side=32) for seed in (0, 1)]
    depths = [np.where(label == 8, 90, 20) for label in labels]
    return write_bank(folder, labels, depths)


def depth_batch(seed, batch=2, size=SIZE, depth=20, num_classes=19):
    """A pair batch whose target has a constant depth."""
    data = random_batch(seed, batch=batch, size=size, num_classes=num_classes)
    for sample in data["target"]["data_samples"]:
        sample.gt_depth_map = PixelData(data=torch.full((1, *size), float(depth)))
    return data


def component(bank, **options):
    return dict(type="DepthSimilarity", bank=str(bank), **options)


def _two_depths(bank, depths, thresholds):
    """The trainer's options, and batches whose targets have another depth in each process."""

    def make_batch(rank, number=0):
        return depth_batch(100 * number + rank, 1, depth=depths[rank])

    first, second = thresholds
    depth = component(bank, reweight_threshold=first, relabel_threshold=second)
    return dict(options=dict(hrda=False, relabel=None, depth=depth), make_batch=make_batch)


def train_with_depth(steps, bank, depths, thresholds):
    """As ``process_tasks.train``; each process sees targets of its own depth."""
    return process_tasks.train(steps, **_two_depths(bank, depths, thresholds))


def alone_with_depth(state, rank, batches, bank, depths, thresholds):
    """As ``process_tasks.alone``."""
    return process_tasks.alone(state, rank, batches, **_two_depths(bank, depths, thresholds))
