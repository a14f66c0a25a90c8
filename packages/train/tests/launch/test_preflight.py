"""Preflight: what stands out is named, and two real processes are measured."""

import pytest

from yoriai_train.launch.preflight import judge


def row(rank, **changes):
    return {
        "host": f"node{rank}", "rank": rank, "torch": "2.13.0", "clock": 1000.0,
        "gemm_tflops": 100.0, "all_reduce_gb_per_second": 10.0, "disk_write_gb_per_second": 1.0,
        **changes,
    }  # fmt: skip


def test_equal_machines_have_no_findings():
    assert judge([row(n, gemm_tflops=100 + n) for n in range(8)]) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gemm_tflops": 60.0}, "matrix products at 60% of the median (60)"),
        ({"all_reduce_gb_per_second": 1.0}, "all-reduce at 10% of the median (1)"),
        ({"disk_write_gb_per_second": 0.5}, "writing to disk at 50% of the median (0.5)"),
        ({"clock": 1012.5}, "its clock is +12.5 seconds off"),
        ({"torch": "2.12.0"}, "torch 2.12.0, others 2.13.0"),
    ],
)
def test_the_machine_that_differs_is_named(changes, message):
    rows = [row(n) for n in range(8)]
    rows[5] |= changes
    [finding] = judge(rows)
    assert (finding.host, finding.rank, finding.message) == ("node5", 5, message)


@pytest.mark.slow
def test_two_processes_of_this_machine_are_measured(yoriai_cli, tmp_path):
    words = ["train", "preflight", "--processes", "2", "--megabytes", "4", "--json"]
    told = yoriai_cli(*words, "--folder", str(tmp_path))
    assert told.code in (0, 1), told.err
    rows = told.json["processes"]
    assert [r["rank"] for r in rows] == [0, 1]
    assert all(r["gemm_tflops"] > 0 and r["all_reduce_gb_per_second"] > 0 for r in rows)
    assert not list(tmp_path.iterdir())
