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

from markupsafe import Markup

from yoriai import YoriaiError, files
from yoriai.redaction import Redactor
from yoriai_eval.report.markup import (
    MOST_CHARACTERS,
    NO_MARKUP,
    fill,
    joined,
    page,
    text_cut,
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
HOW_TO_ASK = Markup(
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
        fill(
            '<p><a href="../../{}">一覧</a> · <a href="../../{}" lang="en">leaderboard</a></p>',
            PAGES["ja"],
            PAGES["en"],
        ),
        fill("<h1>{}: {}</h1>", tally.model, tally.short),
        fill(
            "<p>{} · {} · {} 問 · samples{}</p>",
            tally.task,
            tally.form,
            f"{tally.rows:,}",
            "".join(f" · {_word(r)} {n:,}" for r, n in tally.reasons.items()),
        ),
        fill("<p><small>{}</small></p>", HOW_TO_ASK),
        _pages(tally, number, total),
        _choices(here),
        fill(
            '<div class="wide"><table class="samples"><tbody>{}{}</tbody></table></div>',
            _head(tally.form),
            joined((_row(row, redactor) for row in rows), "\n"),
        ),
        _pages(tally, number, total),
    ]
    return page(title, "ja", joined(parts, "\n"))


def _word(reason: str) -> str:
    return " · ".join(dict.fromkeys(WORDS.get(reason, (reason,))))


def _choices(here: Mapping[str, int]) -> Markup:
    """Which reasons are shown; the style sheet hides the rest."""
    found = [reason for reason in REASONS if here.get(reason)]
    if len(found) < 2:
        return NO_MARKUP
    every = fill(
        '<input class="pick" type="radio" name="f" id="f-all" checked>'
        '<label for="f-all">全部 · all {}</label>',
        sum(here.values()),
    )
    box = '<input class="pick" type="radio" name="f" id="f-{}"><label for="f-{}">{} {}</label>'
    boxes = (fill(box, reason, reason, _word(reason), here[reason]) for reason in found)
    return joined([every, *boxes])


def _pages(tally: Tally, number: int, total: int) -> Markup:
    if total == 1:
        return NO_MARKUP
    near = range(max(1, number - _NEAR), min(total, number + _NEAR) + 1)
    links = []
    for n in sorted({1, *near, total}):
        if n == number:
            links.append(fill("<b>{}</b>", n))
        else:
            links.append(fill('<a href="{}">{}</a>', Path(place(tally, n)).name, n))
        if n + 1 not in near and n < total and n + 1 != total:
            links.append(Markup("…"))
    return fill('<nav class="pages">頁 · page {}</nav>', joined(links, " "))


def _head(form: str) -> Markup:
    columns = ["問 · sample", "判定 · outcome"]
    columns += ["ビット · bits"] if form in ("gold", "bits-per-byte") else ["回答 · answer"]
    return fill('<tr class="head">{}</tr>', joined(fill("<th>{}</th>", name) for name in columns))


def _row(row: Row, redactor: Redactor) -> Markup:
    reason = str(row.get("reason", ""))
    known = reason if reason in REASONS else ""
    told = [fill("<b>{}</b>", row.get("id", ""))]
    told += [
        fill("<small>{} {}</small>", label, row[key])
        for key, label in (("group", "群 · group"), ("cluster", "束 · cluster"))
        if row.get(key)
    ]
    if "prompt_sha256" in row:
        digest = str(row["prompt_sha256"])
        shown = '<small>prompt <code title="{}">{}</code></small>'
        told.append(fill(shown, digest, digest[:16]))
    score = row.get("score")
    outcome = [fill("{}", _word(reason))] if reason else []
    outcome += [fill("<b>{}</b>", score)] if score is not None else []
    return fill(
        "<tr{}><td>{}</td><td{}>{}</td><td>{}</td></tr>",
        fill(' class="is-{}"', known) if known else NO_MARKUP,
        _LINE.join(told),
        fill(' class="mark {}"', known) if known else NO_MARKUP,
        _LINE.join(outcome),
        _answer(row, redactor),
    )


_LINE = Markup("<br>")


def _answer(row: Row, redactor: Redactor) -> Markup:
    """The output as it was, then how it was read; notes of servers may name what is not ours."""
    parts = []
    if "output" in row:
        empty = Markup("<small>空 · empty</small>")
        text = text_cut(row["output"]) if row["output"] else empty
        parts.append(fill('<div class="output" dir="auto">{}</div>', text))
    parts += [
        fill("<div><small>{}:</small> <bdi>{}</bdi></div>", label, text_cut(row[key], MOST_SHORT))
        for key, label in (("answer", "読み取り · parsed"), ("gold", "正解 · gold"))
        if key in row
    ]
    if "bits" in row:
        each = float(row["bits"]) / max(1, row["bytes"])
        parts.append(fill("{} bits / {} bytes = {}", row["bits"], row["bytes"], f"{each:.4f}"))
    told = {key: row[key] for key in ("ended", "shots", "picked", "likelihoods") if key in row}
    if len(row.get("scores") or {}) > 1:
        told["scores"] = row["scores"]
    if "note" in row:
        # Cut first: the rules take long on a long text.
        told["note"] = without_paths(redactor.text(str(row["note"])[:MOST_CHARACTERS]))
    if told:
        small = (
            fill("{}: {}", key, text_cut(_flat(value), MOST_SHORT)) for key, value in told.items()
        )
        parts.append(fill("<small>{}</small>", joined(small, " · ")))
    return joined(parts)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
