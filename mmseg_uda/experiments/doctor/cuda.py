"""Can torch use this machine's GPUs?"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from mmseg_uda.findings import Finding, Level

AREA = "installation"
INDEX = "https://pytorch.org/get-started/locally lists the commands"


@dataclass(frozen=True)
class Driver:
    """What ``nvidia-smi`` tells.

    Attributes:
        gpus: Names of the GPUs.
        cuda: Newest CUDA release that the driver supports, '' if it does not tell.
    """

    gpus: tuple[str, ...]
    cuda: str


def check_cuda() -> list[Finding]:
    """Checks driver, build of torch and each GPU."""
    try:
        import torch
    except Exception:  # the package check reports it
        return []
    if not torch.cuda.is_available():
        return check_driver(read_driver(), torch.__version__, torch.version.cuda)
    count = torch.cuda.device_count()
    names = sorted({torch.cuda.get_device_name(i) for i in range(count)})
    findings = [Finding(AREA, Level.OK, f"{count} GPUs: {', '.join(names)}.")]
    for index in range(count):
        try:
            # A build without kernels for this GPU fails at the first operation, not before.
            works = bool((torch.ones(8, device=f"cuda:{index}") * 2).sum().item() == 16)
            text = "computes wrong results"
        except Exception as error:
            works, text = False, str(error).splitlines()[0]
        if not works:
            major, minor = torch.cuda.get_device_capability(index)
            findings.append(
                Finding(
                    AREA,
                    Level.PROBLEM,
                    f"torch {torch.__version__} cannot use cuda:{index} "
                    f"({torch.cuda.get_device_name(index)}, sm_{major}{minor}; the build has "
                    f"{', '.join(torch.cuda.get_arch_list())}): {text}",
                    fix=f"Install a build of torch for this GPU ({INDEX}); if the GPU is busy or "
                    "broken, nvidia-smi tells.",
                )
            )
    return findings


def check_driver(driver: Driver | None, torch: str, cuda: str | None) -> list[Finding]:
    """Tells why torch sees no GPU.

    Args:
        driver: None without an NVIDIA driver.
        torch: Version of torch.
        cuda: CUDA release that torch was built with; None for a CPU build.
    """
    if driver is None or not driver.gpus:
        return [
            Finding(
                AREA,
                Level.NOTE,
                "no GPU: trainings of the papers' size are out of reach.",
                fix="Use --profile mini, or a machine with a GPU.",
            )
        ]
    gpus = ", ".join(sorted(set(driver.gpus)))
    if cuda is None:
        why = f"torch {torch} is a CPU build"
        fix = (
            "pip uninstall -y torch torchvision, then install both from one CUDA index that the "
            f"driver supports ({_up_to(driver)}{INDEX})."
        )
    # Within a major release every driver runs every build.
    elif driver.cuda and _numbers(driver.cuda)[:1] < _numbers(cuda)[:1]:
        why = f"torch {torch} needs CUDA {cuda}, the driver supports up to {driver.cuda}"
        fix = (
            "Update the NVIDIA driver, or install torch and torchvision from an index of CUDA "
            f"{driver.cuda} or lower ({INDEX})."
        )
    else:
        why = f"torch {torch} (CUDA {cuda}) sees none of them"
        fix = (
            "Look at CUDA_VISIBLE_DEVICES, and whether this container was started with GPU access "
            "(docker run --gpus all); restart after a driver update."
        )
    return [Finding(AREA, Level.PROBLEM, f"this machine has {gpus}, but {why}", fix=fix)]


def read_driver() -> Driver | None:
    """Asks ``nvidia-smi``; None if there is no driver."""
    try:
        listed = _run("-L")
        names = tuple(re.findall(r"^GPU \d+: (.+?) \(UUID", listed, re.MULTILINE))
        if not names:
            return None
        release = re.search(r"CUDA Version: *([\d.]+)", _run())
    except (OSError, subprocess.SubprocessError):
        return None
    return Driver(names, release[1] if release else "")


def _run(*arguments: str) -> str:
    done = subprocess.run(
        ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def _up_to(driver: Driver) -> str:
    return f"CUDA {driver.cuda} or lower; " if driver.cuda else ""


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
