"""Grid Engine on the machines of :mod:`machines`: a master on ``login`` and two execution hosts.

Debian's packages, with a root, a cell and a spool of their own in the scratch folder.
"""

from __future__ import annotations

from pathlib import Path

from machines import LOGIN, NODES, Machines, until

NEEDS = {
    "sge_qmaster": "gridengine-master", "sge_execd": "gridengine-exec", "qsub": "gridengine-client",
}  # fmt: skip
SHARE, PROGRAMS = Path("/usr/share/gridengine"), Path("/usr/lib/gridengine")
SLOTS = 2  # of each host

BOOTSTRAP = """
admin_user              none
default_domain          none
ignore_fqdn             false
spooling_method         berkeleydb
spooling_lib            libspoolb
spooling_params         {place}/spooldb
binary_path             /usr/sbin
qmaster_spool_dir       {place}/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
"""
# SLOTS a host, so that the head's tasks elsewhere are the parallel environment's own.
ENVIRONMENT = f"""
pe_name            spread
slots              999
user_lists         NONE
xuser_lists        NONE
start_proc_args    NONE
stop_proc_args     NONE
allocation_rule    {SLOTS}
control_slaves     TRUE
job_is_first_task  FALSE
urgency_slots      min
accounting_summary FALSE
qsort_args         NONE
"""


class GridEngine:
    """The cluster; ``begin`` starts it."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.place = machines.scratch / "sge"

    @property
    def version(self) -> str:
        return "Grid Engine " + self.run("qstat", "-help").split("\n")[0].split()[-1]

    def run(self, *words: str) -> str:
        return self.machines.run(LOGIN, *words)

    def begin(self) -> None:
        common = self.place / "cell" / "common"
        for folder in (common, *(self.place / n for n in ("spooldb", "qmaster", "execd"))):
            folder.mkdir(parents=True)
        for name in ("bin", "lib", "utilbin", "util"):
            target = SHARE / "util" if name == "util" else Path("/var/lib/gridengine") / name
            (self.place / name).symlink_to(target)
        (common / "act_qmaster").write_text(f"{LOGIN}\n")
        (common / "bootstrap").write_text(BOOTSTRAP.format(place=self.place))
        self.machines.environment |= {
            "SGE_ROOT": str(self.place), "SGE_CELL": "cell", "SGE_QMASTER_PORT": "6444",
            "SGE_EXECD_PORT": "6445", "SGE_ND": "true",
        }  # fmt: skip
        settings = (SHARE / "default-configuration").read_text()
        for key, value in {
            "execd_spool_dir": str(self.place / "execd"), "min_uid": "0", "min_gid": "0",
            "load_report_time": "00:00:02",
        }.items():  # fmt: skip
            lines = [line for line in settings.splitlines() if not line.startswith(f"{key} ")]
            settings = "\n".join([*lines, f"{key} {value}", ""])
        self._write("configuration", settings)
        for words in (
            ("spoolinit", "berkeleydb", "libspoolb", str(self.place / "spooldb"), "init"),
            ("spooldefaults", "configuration", str(self.place / "configuration")),
            ("spooldefaults", "complexes", str(SHARE / "util/resources/centry")),
            ("spooldefaults", "usersets", str(SHARE / "util/resources/usersets")),
            ("spooldefaults", "managers", "root"),
        ):
            self.run(str(PROGRAMS / words[0]), *words[1:])
        self.machines.start(LOGIN, "/usr/sbin/sge_qmaster")
        until("the master answers", lambda: self.machines.run(LOGIN, "qconf", "-sh", check=False))
        for name in NODES:
            self.run("qconf", "-ah", name)
        self.run("qconf", "-as", LOGIN)
        self._configure("-Ahgrp", "group", f"group_name @nodes\nhostlist {' '.join(NODES)}\n")
        self._configure("-Ap", "environment", ENVIRONMENT)
        queue = self.machines.run(LOGIN, "qconf", "-sq").replace("template", "main.q")
        values = {
            "qname": "main.q", "hostlist": "@nodes", "slots": str(SLOTS), "pe_list": "spread",
            "rerun": "TRUE", "shell_start_mode": "posix_compliant", "load_thresholds": "NONE",
        }  # fmt: skip
        rows = [row for row in queue.splitlines() if row.split(" ")[0] not in values]
        self._configure("-Aq", "queue", "\n".join([*(map(" ".join, values.items())), *rows, ""]))
        for name in NODES:
            self.machines.start(name, "/usr/sbin/sge_execd")
        until("both hosts report", self.reporting)

    def reporting(self) -> bool:
        rows = self.run("qstat", "-f").splitlines()
        hosts = [row.split() for row in rows if row.startswith("main.q@")]
        return len(hosts) == len(NODES) and all(len(row) == 5 and row[3] != "-NA-" for row in hosts)

    def _configure(self, option: str, name: str, text: str) -> None:
        self._write(name, text.lstrip("\n"))
        self.run("qconf", option, str(self.place / name))

    def _write(self, name: str, text: str) -> None:
        (self.place / name).write_text(text)
