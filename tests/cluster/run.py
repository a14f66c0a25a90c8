"""Real schedulers, on one machine: ``python tests/cluster/run.py [slurm|grid-engine|open-mpi]``.

Starts each cluster in a scratch folder, runs its checks, writes what was seen with the versions to
``build/cluster.json``, and ends the clusters. Needs root, iproute2 and the site's packages; what
is missing is named. Words after the site choose checks by a part of their names.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machines import Failed, machines
from workplace import Workplace

SITES = {
    "slurm": "slurm_checks",
    "grid-engine": "grid_engine_checks",
    "open-mpi": "open_mpi_checks",
}
PROGRAMS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}
REPORT = Path("build/cluster.json")


def missing(needs: dict[str, str]) -> list[str]:
    """Packages of Debian whose programs are not here."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return sorted({package for name, package in needs.items() if not shutil.which(name, path=path)})


def run_site(name: str, wanted: list[str]) -> list[dict[str, Any]]:
    """The rows of one site, a check each."""
    site = importlib.import_module(SITES[name])
    if lacking := missing({**PROGRAMS, **site.NEEDS}):
        raise SystemExit(f"{name} needs: apt-get install {' '.join(lacking)}")
    rows = []
    scratch = Path(tempfile.mkdtemp(prefix="yoriai-cluster-"))
    with machines(scratch) as made:
        cluster = site.begin(made)
        work = Workplace(made)
        work.prepare()
        for check in site.CHECKS:
            if wanted and not any(word in check.__name__ for word in wanted):
                continue
            began, row = time.monotonic(), {"site": cluster.version, "check": check.__name__}
            try:
                row |= {"held": True, "seen": check(work, cluster)}
            except Failed as error:
                row |= {"held": False, "seen": str(error)}
            row["seconds"] = round(time.monotonic() - began)
            print(f"{row['site']}: {row['check']}: {'held' if row['held'] else 'FAILED'}:"
                  f" {row['seen']} ({row['seconds']} s)", flush=True)  # fmt: skip
            rows.append(row)
    if all(row["held"] for row in rows):
        shutil.rmtree(scratch)
    else:
        print(f"what they left is in {scratch}")
    return rows


def main() -> int:
    if os.geteuid():
        raise SystemExit("daemons and network namespaces need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the clusters end with it
    names = [word for word in sys.argv[1:] if word in SITES] or list(SITES)
    wanted = [word for word in sys.argv[1:] if word not in SITES]
    rows = [row for name in names for row in run_site(name, wanted)]
    report = {"python": platform.python_version(), "system": _system(), "checks": rows}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(row["held"] for row in rows) else 1


def _system() -> str:
    with Path("/etc/os-release").open() as stream:
        values = dict(line.rstrip().split("=", 1) for line in stream if "=" in line)
    return values["PRETTY_NAME"].strip('"')


if __name__ == "__main__":
    sys.exit(main())
