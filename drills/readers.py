"""Foreign bytes: files that were damaged in many ways are read, set aside, or refused.

Good files of each form are spoilt (bits, cuts, doubled and foreign parts) and built into a corpus.
The build must end with exit code 0, the rows that cannot be read kept aside with their reasons.
"""

from __future__ import annotations

import bz2
import gzip
import json
import random
from collections import Counter
from pathlib import Path

from small import call

RECIPE = """\
name: foreign
steps:
  text:
    uses: corpus/build
    sources:
"""
SOURCE = """\
    - {{use: corpus/{use}, paths: ["{place}"], name: {name}, language: ja, licence: CC0-1.0}}
"""
TEXT = "これは試しの文章です。機械が読む言葉を書く。" * 3


def good() -> dict[str, tuple[str, bytes]]:
    """A good file of each form: the name of its source, and its bytes, by ending."""
    rows = "".join(
        json.dumps({"id": str(n), "text": f"{n} {TEXT}"}, ensure_ascii=False) + "\n"
        for n in range(20)
    ).encode()
    page = f"<html><head><title>題</title></head><body><p>{TEXT}</p></body></html>".encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
    record = (
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.org/\r\n"
        b"WARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:"
        b"00000000-0000-0000-0000-000000000001>\r\nContent-Type: application/http; msgtype=response"
        b"\r\nContent-Length: " + str(len(answer)).encode() + b"\r\n\r\n" + answer + b"\r\n\r\n"
    )
    dump = (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="ja"><page>'
        "<title>題</title><ns>0</ns><id>1</id><revision><id>2</id><timestamp>2026-01-01T00:00:00Z"
        f"</timestamp><text>{TEXT}[[山|川]]{{{{雨|1}}}}</text></revision></page></mediawiki>"
    ).encode()
    return {
        "jsonl": ("jsonl", rows),
        "jsonl.gz": ("jsonl", gzip.compress(rows)),
        "jsonl.bz2": ("jsonl", bz2.compress(rows)),
        "csv": ("csv", ("text\n" + "\n".join([TEXT] * 9)).encode()),
        "parquet": ("parquet", _parquet()),
        "txt": ("text-files", TEXT.encode()),
        "html": ("html-files", page),
        "warc": ("warc", record * 3),
        "warc.gz": ("warc", gzip.compress(record) * 3),
        "xml": ("wikipedia", dump),
    }


def _parquet() -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"{n} {TEXT}" for n in range(50)]}), sink, row_group_size=10)
    return sink.getvalue()


def spoil(data: bytes, chosen: random.Random) -> bytes:
    """The bytes, damaged in one of several ways."""
    spoilt = bytearray(data)
    turn = chosen.randrange(5)
    at = chosen.randrange(len(spoilt))
    if turn == 0:
        for _ in range(chosen.randint(1, 8)):
            bit = chosen.randrange(len(spoilt) * 8)
            spoilt[bit // 8] ^= 1 << bit % 8
    elif turn == 1:
        del spoilt[at:]
    elif turn == 2:
        spoilt[at:at] = spoilt[at : at + chosen.randint(1, 400)] * chosen.randint(1, 4)
    elif turn == 3:
        spoilt[at : at + 8] = chosen.choice([b"\xff" * 8, b"\0" * 8, b"99999999", b"\x7f" * 8])
    else:
        spoilt[at:at] = bytes(chosen.randrange(256) for _ in range(chosen.randint(1, 64)))
    return bytes(spoilt)


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts, and what did not hold. ``trials`` files of each form, in one build."""
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    sources = ""
    for ending, (use, data) in good().items():
        place = folder / ending.replace(".", "-")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"good.{ending}").write_bytes(data)
        for number in range(trials):
            (place / f"{number:04}.{ending}").write_bytes(spoil(data, chosen))
        counts[f"{ending} files"] += trials
        pattern = f"{place.resolve()}/*.{ending}"
        sources += SOURCE.format(use=use, place=pattern, name=place.name)
    recipe = folder / "foreign.yaml"
    recipe.write_text(RECIPE + sources, encoding="utf-8")
    answer = call("run", str(recipe), "--out", str(folder / "out"), "--json")
    counts[f"builds that ended with {answer.returncode}"] += 1
    if answer.returncode == 0:
        facts = json.loads(answer.stdout)["facts"]["text"]
        for key in ("documents", "unreadable"):
            if isinstance(facts.get(key), int):
                counts[f"{key} of the build"] = facts[key]
    if answer.returncode != 0 or "Traceback" in answer.stderr:
        return counts, [f"exit {answer.returncode}: {answer.stderr[-500:]}"]
    return counts, []
