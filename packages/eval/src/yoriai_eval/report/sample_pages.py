"""Single answers as pages of 200 rows, one set of pages a model, task and form.

Rows are read one at a time and only those of the page at hand are kept, so memory does not grow
with the number of samples.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from yoriai import YoriaiError, files
from yoriai.redaction import Redactor
from yoriai_eval.report.markup import (
    MOST_CHARACTERS,
    escape,
    escape_cut,
    page,
    without_paths,
)
from yoriai_eval.report.model import Tally
from yoriai_eval.report.words import PAGES, WORDS
from yoriai_eval.scoring.sections import REASONS

ROWS = 200  # a page
MOST_SHORT = 400  # characters of what stands below an output
FOLDER = "samples"
_NEAR = 3  # pages on either side that are linked from a page
# Published pages would hand on the sets, and teach them to models that are trained on the web.
HOW_TO_ASK = (
    "問題文と正解は載せていません。"
    "データのある所で <code>yoriai eval samples</code> が並べて示します。 · "
    "Questions and right answers are left out; <code>yoriai eval samples</code> shows them where "
    "the data is."
)
Key = tuple[str, str, str]  # model, task, form
Row = Mapping[str, Any]


def survey(rows: Iterable[Row], folder: str) -> list[Tally]:
    """What the rows of an artifact come to, by model, task and form, in their order.

    ``folder`` is where its pages will be. Raises :class:`yoriai.YoriaiError` where the rows of
    one model on one task do not stand together.
    """
    tallies: dict[Key, Tally] = {}
    names: set[str] = set()
    for key, some in groupby(rows, key_of):
        if key in tallies:
            raise YoriaiError(f"the rows of {key[0]} on {key[1]} do not stand together")
        shots: Counter[int] = Counter()
        reasons: Counter[str] = Counter()
        prompts = hashlib.sha256()
        count = 0
        for row in some:
            count += 1
            reasons[str(row.get("reason", ""))] += 1
            prompts.update(str(row.get("prompt_sha256", "")).encode("utf-8", "replace"))
            if "shots" in row:
                shots[int(row["shots"])] += 1
        model, task, form = key
        name = _slug("-".join((model, task.rpartition("/")[2], form)), names)
        tallies[key] = Tally(
            model=model,
            task=task,
            form=form,
            rows=count,
            shots=dict(sorted(shots.items())),
            reasons={name: reasons[name] for name in REASONS if reasons[name]},
            prompts=prompts.hexdigest() if form != "bits-per-byte" else "",
            link=f"{FOLDER}/{folder}/{name}-1.html",
        )
    return list(tallies.values())


def key_of(row: Row) -> Key:
    """Model, task and form of a row; rows without a form count bits per byte."""
    return str(row["model"]), str(row["task"]), str(row.get("form", "bits-per-byte"))


def _slug(text: str, taken: set[str]) -> str:
    """A file name of plain letters that no other has, on any file system."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:80] or "model"
    base, number = name, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name


def write(out: Path, rows: Iterable[Row], tallies: Sequence[Tally], redactor: Redactor) -> int:
    """Write the pages of an artifact whose :func:`survey` gave ``tallies``; how many."""
    known = {(t.model, t.task, t.form): t for t in tallies}
    written = 0
    for key, some in groupby(rows, key_of):
        tally = known[key]
        rest: Iterator[Row] = iter(some)
        total = -(-tally.rows // ROWS)
        for number in range(1, total + 1):
            chosen = list(islice(rest, ROWS))
            text = render(tally, number, total, chosen, redactor)
            files.write_atomically(out / place(tally, number), text.encode())
            written += 1
    return written


def place(tally: Tally, number: int) -> str:
    """Where a page is, seen from the leaderboard."""
    return f"{tally.link.removesuffix('-1.html')}-{number}.html"


def render(tally: Tally, number: int, total: int, rows: Sequence[Row], redactor: Redactor) -> str:
    """One page. Reasons are filtered by style alone, without a script."""
    title = f"{tally.model}: {tally.short} ({tally.form}) {number}/{total}"
    here = Counter(str(row.get("reason", "")) for row in rows)
    parts = [
        f'<p><a href="../../{PAGES["ja"]}">一覧</a> · '
        f'<a href="../../{PAGES["en"]}" lang="en">leaderboard</a></p>',
        f"<h1>{escape(tally.model)}: {escape(tally.short)}</h1>",
        f"<p>{escape(tally.task)} · {escape(tally.form)} · {tally.rows:,} 問 · samples"
        + "".join(f" · {_word(r)} {n:,}" for r, n in tally.reasons.items())
        + "</p>",
        f"<p><small>{HOW_TO_ASK}</small></p>",
        _pages(tally, number, total),
        _choices(here),
        f'<div class="wide"><table class="samples"><tbody>{_head(tally.form)}'
        + "\n".join(_row(row, redactor) for row in rows)
        + "</tbody></table></div>",
        _pages(tally, number, total),
    ]
    return page(title, "ja", "\n".join(parts))


def _word(reason: str) -> str:
    return " · ".join(dict.fromkeys(WORDS.get(reason, (escape(reason),))))


def _choices(here: Mapping[str, int]) -> str:
    """Which reasons are shown; the style sheet hides the rest."""
    found = [reason for reason in REASONS if here.get(reason)]
    if len(found) < 2:
        return ""
    boxes = '<input class="pick" type="radio" name="f" id="f-all" checked>'
    boxes += f'<label for="f-all">全部 · all {sum(here.values())}</label>'
    return boxes + "".join(
        f'<input class="pick" type="radio" name="f" id="f-{reason}">'
        f'<label for="f-{reason}">{_word(reason)} {here[reason]}</label>'
        for reason in found
    )


def _pages(tally: Tally, number: int, total: int) -> str:
    if total == 1:
        return ""
    near = range(max(1, number - _NEAR), min(total, number + _NEAR) + 1)
    links = []
    for n in sorted({1, *near, total}):
        if n == number:
            links.append(f"<b>{n}</b>")
        else:
            links.append(f'<a href="{Path(place(tally, n)).name}">{n}</a>')
        if n + 1 not in near and n < total and n + 1 != total:
            links.append("…")
    return f'<nav class="pages">頁 · page {" ".join(links)}</nav>'


def _head(form: str) -> str:
    columns = ["問 · sample", "判定 · outcome"]
    columns += ["ビット · bits"] if form in ("gold", "bits-per-byte") else ["回答 · answer"]
    return '<tr class="head">' + "".join(f"<th>{name}</th>" for name in columns) + "</tr>"


def _row(row: Row, redactor: Redactor) -> str:
    reason = str(row.get("reason", ""))
    known = reason if reason in REASONS else ""
    told = [f"<b>{escape(row.get('id', ''))}</b>"]
    told += [
        f"<small>{label} {escape(row[key])}</small>"
        for key, label in (("group", "群 · group"), ("cluster", "束 · cluster"))
        if row.get(key)
    ]
    if "prompt_sha256" in row:
        digest = escape(row["prompt_sha256"])
        told.append(f'<small>prompt <code title="{digest}">{digest[:16]}</code></small>')
    score = row.get("score")
    outcome = [_word(reason)] if reason else []
    outcome += [f"<b>{escape(score)}</b>"] if score is not None else []
    kind = f' class="is-{known}"' if known else ""
    mark = f' class="mark {known}"' if known else ""
    return (
        f"<tr{kind}><td>{'<br>'.join(told)}</td><td{mark}>{'<br>'.join(outcome)}</td>"
        f"<td>{_answer(row, redactor)}</td></tr>"
    )


def _answer(row: Row, redactor: Redactor) -> str:
    """The output as it was, then how it was read; notes of servers may name what is not ours."""
    parts = []
    if "output" in row:
        text = escape_cut(row["output"]) if row["output"] else "<small>空 · empty</small>"
        parts.append(f'<div class="output" dir="auto">{text}</div>')
    parts += [
        f"<div><small>{label}:</small> <bdi>{escape_cut(row[key], MOST_SHORT)}</bdi></div>"
        for key, label in (("answer", "読み取り · parsed"), ("gold", "正解 · gold"))
        if key in row
    ]
    if "bits" in row:
        each = float(row["bits"]) / max(1, row["bytes"])
        parts.append(f"{escape(row['bits'])} bits / {escape(row['bytes'])} bytes = {each:.4f}")
    told = {key: row[key] for key in ("ended", "shots", "picked", "likelihoods") if key in row}
    if len(row.get("scores") or {}) > 1:
        told["scores"] = row["scores"]
    if "note" in row:
        # Cut first: the rules take long on a long text.
        told["note"] = without_paths(redactor.text(str(row["note"])[:MOST_CHARACTERS]))
    if told:
        small = [f"{key}: {escape_cut(_flat(value), MOST_SHORT)}" for key, value in told.items()]
        parts.append(f"<small>{' · '.join(small)}</small>")
    return "".join(parts)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
