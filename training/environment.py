"""What a run was made with: libraries, machine, source."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "django",
    "numpy",
    "scikit-learn",
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "safetensors",
    "sentence-transformers",
)
_CPU_INFO = Path("/proc/cpuinfo")


def environment(project: Path) -> dict[str, Any]:
    """Return versions, machine and the git commit of the folder `project`, as plain values."""
    # Torch takes seconds to import; a dry run, which shares modules with this one, does without.
    import torch

    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "platform": platform.platform(),
        "host": platform.node(),
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "git": git_state(project),
    }


def git_state(project: Path) -> dict[str, Any] | None:
    """Return the commit that `project` is at and whether files differ from it; None where it is no checkout."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*arguments: str) -> str | None:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [git, "-C", str(project), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}


def _cpu_name() -> str:
    # `platform.processor()` is empty or the bare architecture on most Linux systems.
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
