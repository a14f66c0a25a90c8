"""Facts about where a run happens: packages, git state, machine; and the code's identity."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

from yoriai import files, reachable_code
from yoriai.registry import Registry

# What decides the numbers of a run; their versions are written into every run file.
NOTED = (
    "torch",
    "lightning",
    "deepspeed",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "numpy",
    "pyarrow",
    "safetensors",
    "pluggy",
    "pydantic",
)


@functools.cache
def code_identity(module: str) -> str:
    """``distribution version+hash`` of the whole package that holds ``module``.

    The hash covers the bytes of its Python files: what must be equal on all ranks of a job. What
    decides an artifact is less (:mod:`yoriai.reachable_code`).
    """
    package = module.partition(":")[0].partition(".")[0]
    try:
        spec = util.find_spec(package)
    except ValueError:  # __main__, and modules made by hand, have no specification
        spec = None
    digest = hashlib.sha256()
    if spec and spec.submodule_search_locations is None and spec.has_location:
        digest.update(Path(str(spec.origin)).read_bytes())  # a package of one file
    for root in sorted(spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(root).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return f"{reachable_code.distribution_of(package)}+{digest.hexdigest()[:12]}"


def plugin_fingerprint(registry: Registry) -> str:
    """One digest over the code of core and of every working plugin.

    It is stored in each run and must be equal on all ranks of a training job.
    """
    rows = [code_identity("yoriai")]
    rows += [f"{p.name} {code_identity(p.module)}" for p in registry.plugins if p.status == "ok"]
    return files.digest_json(sorted(rows))


def git_state(folder: Path) -> dict[str, Any]:
    """Commit, branch and whether files were changed; empty outside a repository."""
    if not shutil.which("git"):
        return {}

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return {}
    changes = ask("diff", "HEAD")
    return {
        "commit": commit,
        "branch": ask("rev-parse", "--abbrev-ref", "HEAD"),
        "changed": bool(ask("status", "--porcelain", "--untracked-files=no")),
        "diff_sha256": files.digest_bytes(changes.encode()) if changes else "",
    }


def describe_environment(registry: Registry) -> dict[str, Any]:
    """What a reader needs to judge whether another machine would give the same numbers."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() or 0,
        "memory_mb": memory_mb(),
        "executable": Path(sys.executable).name,
        "packages": {name: version for name in NOTED if (version := _version(name))},
        "plugins": {
            p.name: {"distribution": p.distribution, "version": p.version, "status": p.status}
            for p in registry.plugins
        },
        "plugin_fingerprint": plugin_fingerprint(registry),
    }


def memory_mb() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        return 0


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
