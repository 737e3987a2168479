"""Is everything installed, once, and do the parts fit together?"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from importlib import metadata

from mmseg_uda.experiments.doctor.cuda import check_cuda
from mmseg_uda.findings import Finding, Level

AREA = "installation"
REINSTALL = "pip install -e .[test] -c constraints.txt"

# import name -> (distribution, lowest version that works)
PACKAGES = {
    "torch": ("torch", "2.4"),
    "torchvision": ("torchvision", "0.19"),
    "mmcv": ("onedl-mmcv", "2.1"),
    "mmengine": ("onedl-mmengine", "0.10"),
    "mmseg": ("onedl-mmsegmentation", "1.2"),
    "transformers": ("transformers", "4.46"),
    "open_clip": ("open_clip_torch", "2.30"),
    "numpy": ("numpy", "1.26"),
    "cv2": ("opencv-python", "4.9"),
    "PIL": ("pillow", "10"),
    "rich": ("rich", ""),
    "yaml": ("pyyaml", ""),
    "scipy": ("scipy", ""),
    "ftfy": ("ftfy", ""),
    "regex": ("regex", ""),
}

# All of them bring the module cv2.
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)

# The two families of OpenMMLab distributions write the same files.
FAMILIES = {
    "mmcv": ("onedl-mmcv", ("mmcv", "mmcv-lite", "mmcv-full")),
    "mmengine": ("onedl-mmengine", ("mmengine", "mmengine-lite")),
    "mmseg": ("onedl-mmsegmentation", ("mmsegmentation",)),
}


def check_installation() -> list[Finding]:
    """Runs all checks of the Python environment."""
    installed = installed_versions()
    findings = [_python()]
    findings += [_package(name) for name in PACKAGES]
    findings += check_families(installed)
    findings += check_opencv(installed)
    findings += _numpy_bridge()
    findings += check_torch_pair(*_torch_versions(installed))
    findings += check_cuda()
    return findings


def installed_versions() -> dict[str, str]:
    """Returns version by lower-case distribution name, of what Python would import."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        versions.setdefault(name, distribution.version)  # the first on the path counts
    return versions


def check_families(installed: dict[str, str]) -> list[Finding]:
    """Finds OpenMMLab packages that are installed from both families.

    Args:
        installed: Version by distribution name.
    """
    findings = []
    for name, (maintained, classic) in FAMILIES.items():
        others = [other for other in classic if other in installed]
        if maintained in installed and others:
            both = " ".join([maintained, *others])
            findings.append(
                Finding(
                    AREA,
                    Level.PROBLEM,
                    f"{maintained} and {', '.join(others)} are both installed; they overwrite each "
                    f"other's files in '{name}'.",
                    fix=f"pip uninstall -y {both} && {REINSTALL}",
                )
            )
        elif others:
            findings.append(
                Finding(
                    AREA,
                    Level.NOTE,
                    f"{name} comes from {others[0]} {installed[others[0]]}, the classic "
                    "distribution: it usually works, but is not what the tests run with.",
                    fix=f"pip uninstall -y {others[0]} && {REINSTALL}",
                )
            )
    return findings


def check_opencv(installed: dict[str, str]) -> list[Finding]:
    """Finds builds of OpenCV that overwrite each other's files in ``cv2``.

    Args:
        installed: Version by distribution name.
    """
    builds = {name: installed[name] for name in OPENCV if name in installed}
    if len(builds) < 2:
        return []
    text = ", ".join(f"{name} {version}" for name, version in builds.items())
    if len(set(builds.values())) == 1:
        return [Finding(AREA, Level.NOTE, f"several builds of OpenCV, all of one release: {text}")]
    return [
        Finding(
            AREA,
            Level.PROBLEM,
            f"several builds of OpenCV overwrite each other's files in 'cv2': {text}",
            fix=f"pip uninstall -y {' '.join(builds)} && {REINSTALL}",
        )
    ]


def check_torch_pair(torch: str, torchvision: str) -> list[Finding]:
    """Finds releases or builds of torch and torchvision that do not belong together.

    torchvision 0.N belongs to torch 2.(N - 15); the part behind '+' names the build.
    """
    numbers = [re.match(r"(\d+)\.(\d+)", version) for version in (torch, torchvision)]
    fix = f"pip uninstall -y torch torchvision && {REINSTALL}"
    if all(numbers):
        (major, minor), (_, vision) = ((int(m[1]), int(m[2])) for m in numbers if m)
        if major == 2 and vision != minor + 15:
            return [
                Finding(
                    AREA,
                    Level.PROBLEM,
                    f"torch {torch} needs torchvision 0.{minor + 15}, not {torchvision}.",
                    fix=fix,
                )
            ]
    builds = [version.partition("+")[2] for version in (torch, torchvision)]
    if builds[0] != builds[1]:
        return [
            Finding(
                AREA,
                Level.PROBLEM,
                f"torch {torch} and torchvision {torchvision} are different builds; importing "
                "torchvision fails.",
                fix=fix + " (or install both from the same index)",
            )
        ]
    return []


def too_old(version: str, lowest: str) -> bool:
    """Compares the numeric parts of two versions."""
    found, wanted = ([int(n) for n in re.findall(r"\d+", v)[:2]] for v in (version, lowest))
    return found < wanted


def _python() -> Finding:
    return Finding(AREA, Level.OK, f"Python {'.'.join(map(str, sys.version_info[:3]))}.")


def _package(name: str) -> Finding:
    distribution, lowest = PACKAGES[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
    except Exception as error:  # a broken package may raise anything
        text = str(error).splitlines()[0] if str(error) else ""
        return Finding(
            AREA,
            Level.PROBLEM,
            f"{name} cannot be imported: {type(error).__name__}: {text}",
            fix=REINSTALL,
        )
    version = str(getattr(module, "__version__", "") or installed_versions().get(distribution, ""))
    if version and lowest and too_old(version, lowest):
        return Finding(
            AREA, Level.PROBLEM, f"{name} {version} is older than {lowest}.", fix=REINSTALL
        )
    return Finding(AREA, Level.OK, f"{name} {version}.")


def _torch_versions(installed: dict[str, str]) -> tuple[str, str]:
    """Versions of torch and torchvision: the modules', or pip's where they cannot be imported."""
    versions = []
    for name in ("torch", "torchvision"):
        try:
            versions.append(str(importlib.import_module(name).__version__))
        except Exception:  # the package check reports it; the versions may tell why
            versions.append(installed.get(name, ""))
    return versions[0], versions[1]


def _numpy_bridge() -> list[Finding]:
    """Arrays have to pass between numpy, torch and OpenCV, which are built against numpy."""
    try:
        import cv2
        import numpy as np
        import torch
    except Exception:  # the package check reports it
        return []
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            back = torch.from_numpy(picture).numpy()
    except Exception as error:
        return [
            Finding(
                AREA,
                Level.PROBLEM,
                f"torch {torch.__version__} was not built for numpy {np.__version__}: {error}",
                fix='pip install "numpy<2", or a newer torch.',
            )
        ]
    try:
        found, code = cv2.imencode(".png", back)
        decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
        same = found and decoded is not None and np.array_equal(decoded, picture)
        text = "a PNG does not come back as it was written"
    except Exception as error:
        same, text = False, str(error)
    if same:
        return []
    return [
        Finding(
            AREA,
            Level.PROBLEM,
            f"OpenCV {cv2.__version__} does not work with numpy {np.__version__}: {text}",
            fix=f"pip uninstall -y {' '.join(OPENCV)} && {REINSTALL}",
        )
    ]
