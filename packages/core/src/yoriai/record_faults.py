"""``yoriai records check``: everything wrong with records, by file and line.

What a record says of itself is worked out again: each verdict from text and measured value, the
record's verdict from those. Nothing that a reader's browser could run, no secret, no run file
without its record, no fact held back past its date.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoriai.errors import NotFound, UsageError
from yoriai.plain_markdown import CONTROL, find_markup, is_safe_link
from yoriai.prediction import relation_of, verdict_of
from yoriai.record import HEADINGS, Filed, read_record
from yoriai.record_history import frozen_faults
from yoriai.redaction import Redactor

FOLDER = re.compile(r"\d{4}-[a-z0-9][a-z0-9_-]*")
RUN_STATES = ("running", "completed", "failed", "cancelled", "timed-out")
MAX_FILE_MB = 20


def check_records(root: Path, today: datetime.date | None = None) -> list[str]:
    """Everything wrong with the records below ``root``, one line each; empty is good.

    Raises :class:`UsageError` for a folder of other folders: an empty one may wait for its first
    record, but that is another place.
    """
    if not root.is_dir():
        raise NotFound(f"no folder {root}", hint="yoriai records check --root DIR")
    inside = [path for path in root.iterdir() if path.is_dir()]
    if inside and not any(FOLDER.match(p.name) or (p / "record.yaml").exists() for p in inside):
        near = root / "records"
        raise UsageError(
            f"{root} holds no record, but other folders",
            hint=f"yoriai records check --root {near if near.is_dir() else 'DIR'}",
        )
    today = today or datetime.date.today()
    problems: list[str] = []
    filed: dict[str, Filed] = {}
    runs: dict[str, Path] = {}
    for folder in sorted(inside):
        if not (folder / "record.yaml").is_file():
            if FOLDER.match(folder.name) or any(folder.rglob("*.json")):
                problems.append(f"{folder}: has no record.yaml")
            problems += [
                f"{path}: a run file that no record owns" for path in sorted(folder.rglob("*.json"))
            ]
            continue
        problems += _files(folder)
        problems += _runs(folder, runs)
        try:
            one = read_record(folder)
        except UsageError as error:
            problems += error.message.splitlines()
            continue
        problems += _record(one, today)
        if one.record.id in filed:
            other = filed[one.record.id].folder.name
            problems.append(f"{one.line('id')}: the id {one.record.id} is that of {other} too")
        filed.setdefault(one.record.id, one)
    for path in sorted(root.glob("*.json")):
        problems.append(f"{path}: a run file that no record owns")
    problems += _references(filed)
    return problems


def _record(filed: Filed, today: datetime.date) -> Iterator[str]:
    record = filed.record
    if not FOLDER.fullmatch(filed.folder.name):
        yield f"{filed.folder}: a folder is called NNNN-words (a-z, 0-9, '-', '_')"
    if not filed.folder.name.startswith(f"{record.id}-"):
        yield f"{filed.folder}: the folder's name must start with {record.id}-"
    yield from _verdicts(filed)
    for index, link in enumerate(record.links):
        if not re.match(r"https?://", link) or not is_safe_link(link):
            yield f"{filed.line('links', index)}: a link is http:// or https://"
    talk = record.discussion
    if talk and not (re.match(r"https?://", talk) and is_safe_link(talk)):
        yield f"{filed.line('discussion')}: a link is http:// or https://"
    for index, fact in enumerate(record.withheld):
        if fact.until < today:
            yield f"{filed.line('withheld', index)}: withheld until {fact.until}, which is past"
    for name, date in (("opened", record.opened), ("ended", record.ended)):
        if date and date > today + datetime.timedelta(days=1):
            yield f"{filed.line(name)}: {date} has not come yet"
    for place, text in _strings(record.model_dump(by_alias=True), ()):
        if len(text) > 5000:
            yield f"{filed.line(*place)}: a text of {len(text):,} characters; 5,000 are enough"
        if CONTROL.search(text):
            yield f"{filed.line(*place)}: holds a control character"
        if re.search(r"<[A-Za-z/!?][^>]*[\s=/>]", text):
            yield f"{filed.line(*place)}: holds markup; write it in words"
    yield from frozen_faults(filed)


def _verdicts(filed: Filed) -> Iterator[str]:
    record = filed.record
    texts: set[str] = set()
    for index, prediction in enumerate(record.predictions):
        here = filed.line("predictions", index)
        if prediction.text in texts:
            yield f"{here}: the same prediction stands above"
        texts.add(prediction.text)
        if (prediction.relation is None) != (prediction.limit is None):
            yield f"{here}: give both relation and limit, or neither"
            continue
        expected, said = prediction.expectation(), relation_of(prediction.text)
        if expected is None:
            if prediction.measured is not None or prediction.verdict != "not-measured":
                yield (
                    f"{here}: no verdict can be worked out: end the text in a relation and a "
                    "number ('at most 1.0'), or add relation and limit"
                )
            continue
        if said and said != expected:
            yield f"{here}: the text says {said[0]} {said[1]}, the keys {expected[0]} {expected[1]}"
        if isinstance(expected[1], tuple) != (expected[0] == "between"):
            yield f"{here}: 'between' and only it takes a limit of two numbers"
            continue
        found = verdict_of(prediction.measured, *expected)
        if found != prediction.verdict:
            measured = "nothing" if prediction.measured is None else f"{prediction.measured:g}"
            yield (
                f"{here}: measured {measured}, predicted {expected[0]} {expected[1]}: "
                f"that is {found!r}, not {prediction.verdict!r}"
            )
    if record.state != "ended" or record.verdict is None:
        return
    found = record.predicted_verdict()
    if record.verdict != found and not record.argument.strip():
        yield (
            f"{filed.line('verdict')}: the predictions make it {found!r}, not {record.verdict!r}; "
            "say under argument why it differs"
        )
    if record.verdict == "supported" and record.execution != "completed" and not record.argument:
        yield f"{filed.line('verdict')}: supported by a run that {record.execution}; argue it"


def _strings(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, (*place, key))
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _strings(item, (*place, index))


def _files(folder: Path) -> Iterator[str]:
    """Story, secrets and links of every file."""
    redactor = Redactor({}, home="", user="")
    story = folder / "README.md"
    text = story.read_text(encoding="utf-8", errors="replace") if story.is_file() else ""
    for heading in HEADINGS:
        if not re.search(rf"^## {re.escape(heading)}", text, re.MULTILINE):
            yield f"{story}: has no heading '## {heading}'"
    for file in sorted(folder.rglob("*")):
        if file.is_symlink():
            yield f"{file}: is a link; a record holds plain files"
            continue
        if not file.is_file():
            continue
        if file.stat().st_size > MAX_FILE_MB * 2**20:
            yield f"{file}: is larger than {MAX_FILE_MB} MB"
            continue
        data = file.read_bytes()
        words = file.suffix in (".md", ".yaml", ".json", ".jsonl")
        try:
            body = data.decode()
        except UnicodeDecodeError as error:
            if words:
                yield f"{file}: is not UTF-8 (byte {error.start})"
                continue
            wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # the marks that UTF-16 begins with
            body = data.decode("utf-16" if wide else "latin-1", errors="replace")
        if redactor.text(body) != body:
            lines = body.splitlines()
            line = next((n for n, row in enumerate(lines, 1) if redactor.text(row) != row), 1)
            yield f"{file}:{line}: holds a secret, or a home path"
        yield from (f"{file}:{line}: {what}" for line, what in _bare_keys(body))
        if file.suffix == ".md":
            for number, what in find_markup(body):
                yield f"{file}:{number}: {what}"
        if file.name == "log.md":
            yield from _log(file, body)


# What 40 hexadecimal digits are where they are no key (the shape of keys of Weights & Biases, and
# of older ones of others): a name of git, or a digest. Said on the line, or by an address.
_BARE_KEY = re.compile(r"(?<![\w./@+=-])[0-9a-f]{40}(?![\w+=-])")
_NO_KEY = re.compile(
    r"commit|revision|\brev\b|\bsha|digest|hash|\bgit\b|branch|\btree\b|\bblob\b|\brun\b|HEAD"
    r"|コミット|版|ハッシュ|ダイジェスト",
    re.IGNORECASE,
)


def _bare_keys(body: str) -> Iterator[tuple[int, str]]:
    """(line, fault) of what may be a key that no name tells."""
    if not _BARE_KEY.search(body):
        return
    for number, line in enumerate(body.splitlines(), 1):
        if _BARE_KEY.search(line) and not _NO_KEY.search(line):
            yield (
                number,
                "40 hexadecimal digits, as a key has them; if they are a commit or a digest, say so"
                " on the line",
            )


def _log(path: Path, text: str) -> Iterator[str]:
    last = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            date = line[3:13]
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
                yield f"{path}:{number}: an entry of the log starts with its date (## 2026-11-28)"
            elif date < last:
                yield f"{path}:{number}: the log's entries are in order, the newest last"
            else:
                last = date


def _runs(folder: Path, seen: dict[str, Path]) -> Iterator[str]:
    for path in sorted((folder / "runs").glob("*")):
        if path.suffix != ".json":
            if not path.name.endswith(".metrics.jsonl"):
                yield f"{path}: is no run file (ID.json, or ID.metrics.jsonl)"
            continue
        try:
            value = json.loads(path.read_bytes(), parse_constant=_no_number)
            if not isinstance(value, dict):
                raise ValueError("it is no mapping")
            missing = {"id", "state", "started", "steps", "recipe"} - value.keys()
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            datetime.datetime.fromisoformat(str(value["started"]))
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            yield f"{path}:{line}: is no run file: {str(error)[:120]}"
            continue
        if value["state"] not in RUN_STATES:
            yield f"{path}: the state {str(value['state'])[:40]!r} is not one of a run"
        if value["id"] != path.stem:
            yield f"{path}: is the file of run {str(value['id'])[:60]!r}; name it so"
        if path.stem in seen:
            yield f"{path}: the run stands in {seen[path.stem].parent.parent.name} too"
        seen.setdefault(path.stem, path)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _references(filed: Mapping[str, Filed]) -> Iterator[str]:
    for one in filed.values():
        for key, numbers in one.record.references().items():
            for index, number in enumerate(numbers):
                here = one.line(key) if key == "baseline" else one.line(key, index)
                if number == one.record.id:
                    yield f"{here}: a record does not name itself"
                elif number not in filed:
                    yield f"{here}: there is no record {number}"
    for key in ("supersedes", "reproduces"):
        for number, one in filed.items():
            if _reaches(number, number, key, filed, set()):
                yield f"{one.line(key)}: {key} leads back to {number}"


def _reaches(start: str, goal: str, key: str, filed: Mapping[str, Filed], seen: set[str]) -> bool:
    for number in filed[start].record.references().get(key, ()) if start in filed else ():
        if number == goal and start != goal:
            return True
        if number not in seen:
            seen.add(number)
            if _reaches(number, goal, key, filed, seen):
                return True
    return False
