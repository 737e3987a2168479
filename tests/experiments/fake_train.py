"""Stands in for tools/train.py: same arguments, same files, no training.

``FAKE_FAIL`` and ``FAKE_HANG`` hold parts of job names that fail or wait for a signal; the first
attempt alone waits with ``FAKE_ONCE``. ``FAKE_SAVES`` makes SIGTERM end it as a training ends that
has saved its state, ``FAKE_DEAF`` makes it ignore SIGTERM. ``FAKE_EXIT`` is the exit status of a
first attempt. ``FAKE_UNTIL`` is a file whose appearance ends the waiting.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

work_dir = Path(sys.argv[sys.argv.index("--work-dir") + 1])
resumed = (work_dir / "iter_400.pth").exists()
(work_dir / "calls.txt").open("a").write(f"{'resume' if resumed else 'start'} {sys.argv[1:]}\n")
(work_dir / "threads.txt").write_text(os.environ.get("OMP_NUM_THREADS", ""))
with (work_dir / "ranks.txt").open("a") as file:
    names = ("RANK", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES")
    file.write(" ".join(os.environ.get(name, "-") for name in names) + "\n")
(work_dir / "iter_400.pth").touch()


def save(*_) -> None:
    (work_dir / "saved").touch()
    sys.exit(75)


if os.environ.get("FAKE_SAVES"):
    signal.signal(signal.SIGTERM, save)
if os.environ.get("FAKE_DEAF"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def progress(step: int) -> None:
    content = {"iter": step, "max_iters": 1200, "seconds_per_iter": 0.1, "eta_seconds": 1.0}
    (work_dir / "progress.json").write_text(json.dumps(content))


def matches(variable: str) -> bool:
    part = os.environ.get(variable)
    return bool(part) and part in work_dir.name


progress(400)
print("a line of the log")
if matches("FAKE_FAIL"):
    print("out of cheese")
    sys.exit(3)
until = os.environ.get("FAKE_UNTIL")
while matches("FAKE_HANG") and not (resumed and os.environ.get("FAKE_ONCE")):
    if until and Path(until).exists():
        break
    time.sleep(0.05)
if os.environ.get("FAKE_EXIT") and not resumed:
    sys.exit(int(os.environ["FAKE_EXIT"]))
evaluations = [
    {"iter": 400, "mIoU": 41.0, "mIoU_16": 45.0, "IoU": {"road": 90.0, "train": 1.0}},
    {"iter": 1200, "mIoU": 40.0, "mIoU_16": 44.0, "IoU": {"road": 91.0, "train": 2.0}},
]
(work_dir / "evaluations.json").write_text(json.dumps(evaluations))
progress(1200)
