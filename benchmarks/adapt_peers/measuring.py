"""Time and memory of one piece of work, as one JSON line."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator

STARTED = time.perf_counter()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def measured() -> Iterator[None]:
    """What stands under it is the work; what came before were imports."""
    imports, imported = time.perf_counter() - STARTED, peak_mb()
    start, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        yield
    facts = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "import_seconds": imports,
        "imported_mb": imported,
        "peak_mb": peak_mb(),
    }
    print(json.dumps(facts))
