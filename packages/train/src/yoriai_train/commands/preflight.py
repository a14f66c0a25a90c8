"""``yoriai train preflight``: is every node fit before it costs anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from yoriai import YoriaiError, console


@click.command(epilog="""\b
Examples:
  yoriai train preflight
  yoriai train preflight --processes 2 --folder build --json
""")  # fmt: skip
@click.option("--processes", default=1, show_default=True, help="Processes on this node.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    show_default=True,
    help="Where checkpoints will be written: its disk is measured.",
)
@click.option("--megabytes", default=64, show_default=True, help="Size of each transfer.")
@console.json_option
def preflight(processes: int, folder: Path, megabytes: int, as_json: bool) -> None:
    """Measure matrix products, all-reduce, disk, clock and memory, and name what is slow.

    In a job of several nodes every node runs it, and they are compared. Exit code 1 if one
    stands out.
    """
    from yoriai_train.job import ranks
    from yoriai_train.job.nodes import rendezvous_from
    from yoriai_train.launch.preflight import judge
    from yoriai_train.settings.strategies import DDP

    meeting = rendezvous_from()
    words = ["-m", "yoriai_train.launch.preflight", str(folder), str(megabytes)]
    strategy = DDP(processes=processes)
    command = ranks.command(strategy, words, meeting)
    environment = ranks.environment(rendezvous=meeting)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("@preflight ")]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise YoriaiError(f"a process failed its checks: {last}", hint="look at its node first")
    if not told:
        return  # not the head: its figures are in the head's table
    rows: list[dict[str, Any]] = json.loads(told[0].removeprefix("@preflight "))
    findings = judge(rows)

    def text() -> str:
        table = console.table(
            ("host", "rank", "device", "TFLOP/s", "all-reduce GB/s", "disk GB/s", "free GB"),
            [
                (
                    row["host"],
                    row["rank"],
                    row["device"],
                    f"{row['gemm_tflops']:.3g}",
                    f"{row.get('all_reduce_gb_per_second', 0):.3g}",
                    f"{row['disk_write_gb_per_second']:.3g}",
                    f"{row['memory_free_gb']:.1f}",
                )
                for row in rows
            ],
        )
        told = [f"slow: {f.host}, rank {f.rank}: {f.message}" for f in findings]
        return "\n".join([table, *(told or ["nothing stands out"])])

    value = {
        "processes": rows,
        "findings": [{"host": f.host, "rank": f.rank, "message": f.message} for f in findings],
    }
    console.emit(value, as_json=as_json, text=text)
    if findings:
        sys.exit(1)
