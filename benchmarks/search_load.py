"""The search server under load: part of ``nox -s bench -- search``.

A corpus of the texts is built by ``yoriai run`` (two rules, duplicates, held out), indexed, and
served by ``yoriai corpus serve`` on loopback. 16 clients, each on a connection that stays open,
ask as soon as they are answered. Two loads: ``distinct``, in which no address comes twice, and
``repeated``, 500 addresses drawn by Zipf's law. Of the addresses, by turns, 9 in 20 are first
pages, 6 JSON of the same kind, 2 second pages, 1 a page with a filter, 2 pages of documents. What
is looked for are pieces of the texts, 1 to 20 characters. Two kinds of clients: 16 coroutines in
one process of Python, and ``wrk`` where it is installed.

CPU is the server's, of all its threads; ``waited`` is how long a thread that could have run had
no core (``/proc/PID/task/*/schedstat``), which is other programs' doing and the clients'.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from yoriai import console

CLIENTS = 16
GOAL_MS = 100.0  # 99 of 100 answers are there
IDLE_GOAL_MB = 200.0  # beside the mapped files
REPEATED = 500
MOST_DISTINCT = 60_000
RECIPE = """
name: load
version: 1
licence: CC0-1.0
seed: 1
steps:
  text:
    uses: corpus/build
    sources:
{sources}
    rules: [{{use: corpus/min-length, characters: 400}}, corpus/compression]
    dedup: {{exact: true, near: 0.8}}
    heldout: 0.02
  index: {{uses: corpus/index, from: text}}
"""
WRK = """
local paths = {}
for line in io.lines(os.getenv("ADDRESSES")) do paths[#paths + 1] = line end
local at = 0
request = function()
  at = at + 1
  return wrk.format("GET", paths[(at - 1) % #paths + 1])
end
done = function(summary, latency)
  local e = summary.errors
  print(string.format('\\n{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f}',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one kind of clients saw; times in milliseconds but ``seconds``."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class ServerUse:
    """What the server has used: seconds of CPU and of waiting for a core, megabytes of memory."""

    cpu: float
    waited: float
    own: float
    mapped: float

    @classmethod
    def of(cls, pid: int) -> ServerUse:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        waited = 0.0
        for thread in Path(f"/proc/{pid}/task").iterdir():
            waited += int((thread / "schedstat").read_text().split()[1]) / 1e9
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        own, mapped = (int(status[name].split()[0]) / 1e3 for name in ("RssAnon", "RssFile"))
        return cls(ticks / os.sysconf("SC_CLK_TCK"), waited, own, mapped)


def measure(
    texts: Mapping[str, Sequence[str]], folder: Path, seconds: float
) -> tuple[bool, str, list[tuple[str, ...]]]:
    """Whether the goals hold, and what was measured: in words, and as rows."""
    index = _index(texts, folder)
    flat = [text for found in texts.values() for text in found]
    names = [f"{language}/{n}" for language, found in texts.items() for n in range(len(found))]
    rows: list[tuple[str, ...]] = []
    holds = True
    idle = 0.0
    for load in ("distinct", "repeated"):
        for kind in ("python", *(("wrk",) if shutil.which("wrk") else ())):
            chance = random.Random(f"{load} {kind}")
            paths = _addresses(flat, names, chance, load)
            with _served(index) as (address, pid):
                idle = max(idle, ServerUse.of(pid).own)
                warm = _addresses(flat, names, random.Random("first"), "distinct")[:100]
                asyncio.run(_ask(address, warm, 3.0))
                before = ServerUse.of(pid)
                if kind == "wrk":
                    seen = _wrk(address, paths, folder, seconds)
                else:
                    seen = asyncio.run(_ask(address, paths, seconds))
                after = ServerUse.of(pid)
            cpu = after.cpu - before.cpu
            good = seen.errors == 0 and seen.p99 < GOAL_MS
            holds = holds and good
            rows.append((
                load, kind, f"{seen.requests:,}", str(seen.errors),
                f"{seen.requests / seen.seconds:.0f}", f"{seen.p50:.0f}", f"{seen.p99:.0f}",
                f"{1e3 * cpu / max(1, seen.requests):.2f}", f"{cpu / seen.seconds:.2f}",
                f"{(after.waited - before.waited) / seen.seconds:.2f}",
                f"{before.own:.0f} to {after.own:.0f}", "yes" if good else "NO",
            ))  # fmt: skip
    holds = holds and idle < IDLE_GOAL_MB
    head = (
        f"{CLIENTS} clients of the search server, {seconds:g} s each; goals: no error, p99 < "
        f"{GOAL_MS:g} ms; idle server {idle:.0f} MB beside the map (goal {IDLE_GOAL_MB:g})\n"
    )
    columns = ("load", "clients", "requests", "errors", "/s", "p50 ms", "p99 ms", "CPU ms each",
               "cores used", "waited for", "MB", "holds")  # fmt: skip
    return holds, head + console.table(columns, rows), rows


def _index(texts: Mapping[str, Sequence[str]], folder: Path) -> Path:
    sources = []
    for language, found in texts.items():
        path = folder / f"{language}.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for number, text in enumerate(found):
                stream.write(json.dumps({"id": str(number), "text": text}) + "\n")
        sources.append(
            f"      - {{use: corpus/jsonl, paths: [{path}],"
            f" name: {language}, language: {language}}}"
        )
    recipe = folder / "load.yaml"
    recipe.write_text(RECIPE.format(sources="\n".join(sources)))
    words = [sys.executable, "-m", "yoriai", "run", recipe, "--out", folder / "out"]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "out" / "index@1"


@contextmanager
def _served(index: Path) -> Iterator[tuple[str, int]]:
    words = [sys.executable, "-m", "yoriai", "corpus", "serve", index, "--port", "0", "--json"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = server.stdout.readline()
            if not line:
                raise RuntimeError(f"the server ended: {said}")
            said += line
        yield json.loads(said)["address"], server.pid
    finally:
        server.terminate()
        server.wait(30)


def _addresses(
    texts: Sequence[str], names: Sequence[str], chance: random.Random, load: str
) -> list[str]:
    count = MOST_DISTINCT if load == "distinct" else REPEATED
    found: dict[str, None] = {}
    turn = 0
    misses = 0
    while len(found) < count and misses < 10 * count:
        before = len(found)
        found[_address(texts, names, chance, turn % 20)] = None
        turn += 1
        misses += len(found) == before
    paths = list(found)
    if load == "repeated":
        weights = [1 / (rank + 1) for rank in range(len(paths))]
        chance.shuffle(paths)
        return chance.choices(paths, weights, k=MOST_DISTINCT)
    return paths


def _address(texts: Sequence[str], names: Sequence[str], chance: random.Random, turn: int) -> str:
    if turn >= 18:
        return f"/document?name={quote(chance.choice(names))}&ui=en"
    piece = ""
    while not piece.strip():
        text = chance.choice(texts)
        begin = chance.randrange(len(text))
        piece = text[begin : begin + chance.randint(1, 20)]
    fields = {"q": piece}
    if turn < 6:
        return "/api/search?" + urlencode(fields)
    fields["ui"] = chance.choice(("en", "ja"))
    if turn in (15, 16):
        fields["offset"] = "20"
    if turn == 17:
        fields["state"] = chance.choice(("kept", "dropped"))
    return "/?" + urlencode(fields)


async def _ask(address: str, paths: Sequence[str], seconds: float) -> Load:
    """Coroutines that each ask on one connection and wait for the answer."""
    split = urlsplit(address)
    host, port = split.hostname or "", split.port or 80
    turns = iter(paths)
    times: list[float] = []
    errors = 0
    began = time.perf_counter()
    end = began + seconds

    async def client() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() < end:
            path = next(turns, None)
            if path is None:
                break
            start = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(size)
            except (OSError, EOFError, ValueError):
                errors += 1
                reader, writer = await asyncio.open_connection(host, port)
                continue
            times.append((time.perf_counter() - start) * 1e3)
            errors += not head.startswith(b"http/1.1 200")
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    took = time.perf_counter() - began
    times.sort()
    p50, p99 = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    return Load(len(times), took, errors, p50, p99)


def _wrk(address: str, paths: Sequence[str], folder: Path, seconds: float) -> Load:
    (folder / "addresses.txt").write_text("\n".join(paths) + "\n")
    (folder / "wrk.lua").write_text(WRK)
    words = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{round(seconds)}s", "--timeout", "30s",
             "-s", folder / "wrk.lua", address]  # fmt: skip
    done = subprocess.run(
        words, env=os.environ | {"ADDRESSES": str(folder / "addresses.txt")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))
