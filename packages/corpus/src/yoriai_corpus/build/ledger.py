"""The account of a corpus: in = kept + held out + dropped + unreadable, to the document."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OUTCOMES = ("kept", "heldout", "dropped", "unreadable")
NUMBERS = (  # what may be predicted of a corpus (yoriai.Step.measures)
    "records.count",
    "in", *OUTCOMES, "ids_with_their_file", "dropped_by_rule.**", "unreadable_by_reason.**",
    "passed_over.**", "edited_by_rule.**", "by_source.**", "by_language.*.documents",
    "by_language.*.bytes", "by_licence.**", "contamination.**",
)  # fmt: skip
MOST_LEFT_OUT = 50  # kinds that are shown of a source
OTHERS = "others"


def account(
    receipts: Sequence[Mapping[str, Any]],
    parts: Sequence[Mapping[str, Any]],
    contamination: Mapping[str, Any],
    beside: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """The ledger; raises if a document is missing or counted twice, in any partition.

    ``receipts`` say what each partition read, ``parts`` (in order; each receipt names its
    number of parts) what became of it. ``beside`` names every source that is known, those that
    gave nothing too, with what it passed over without reading.
    """
    by_source: dict[str, dict[str, Any]] = {}
    sizes: dict[str, dict[str, dict[str, int]]] = {"language": {}, "licence": {}}
    partitions = []
    renamed = 0
    remaining = iter(parts)
    reasons = collections.Counter[str]()
    passed = collections.Counter[str]()
    left_out: dict[str, collections.Counter[str]] = {}

    def pass_over(source: str, kinds: Mapping[str, int]) -> None:
        _add(by_source, source, {})
        _add_to(by_source[source]["passed_over"], kinds)
        passed.update(kinds)

    for source, kinds in (beside or {}).items():
        pass_over(source, kinds)
    for receipt in receipts:
        for source, kinds in receipt.get("passed_over", {}).items():
            pass_over(source, kinds)
        for source, kinds in receipt.get("left_out", {}).items():
            left_out.setdefault(source, collections.Counter()).update(kinds)
        mine = [next(remaining) for _ in receipt["parts"]]
        counts = collections.Counter[str]()
        for part in mine:
            for source, row in part["by_source"].items():
                counts.update(row)
                _add(by_source, source, row)
            reasons.update(part.get("unreadable_by_reason", {}))
            renamed += part.get("renamed", 0)
            for source, row in part["dropped"].items():
                _add_to(by_source[source]["dropped_by_rule"], row)
            for source, rules in part["edited"].items():
                _add_edits(by_source[source]["edited_by_rule"], rules)
            for name, rows in part["sizes"].items():
                for key, row in rows.items():
                    if name == "source":
                        by_source[key]["bytes"] += row["bytes"]
                        continue
                    _add_to(sizes[name].setdefault(key, {"documents": 0, "bytes": 0}), row)
        found = {name: counts[name] for name in OUTCOMES}
        if receipt["in"] != sum(found.values()):
            raise AssertionError(
                f"{receipt['in']} documents came in from {receipt['partition']}, {found} are"
                " accounted for"
            )
        partitions.append(
            {
                "source": receipt["source_index"],
                "partition": receipt["partition"],
                "in": receipt["in"],
                **found,
            }
        )
        for source, rules in receipt["edits"].items():
            _add_edits(by_source[source]["edited_by_rule"], rules)
    for source, counts in left_out.items():
        by_source[source]["left_out"] = commonest(counts, MOST_LEFT_OUT)
    edits: dict[str, dict[str, int]] = {}
    for row in by_source.values():
        for rule, change in row["edited_by_rule"].items():
            _add_to(edits.setdefault(rule, {"documents": 0, "characters": 0}), change)
    dropped = collections.Counter[str]()
    for row in by_source.values():
        dropped.update(row["dropped_by_rule"])
    return {
        "in": sum(receipt["in"] for receipt in receipts),
        **{name: sum(row[name] for row in by_source.values()) for name in OUTCOMES},
        "dropped_by_rule": dict(sorted(dropped.items())),
        "unreadable_by_reason": dict(sorted(reasons.items())),
        **({"ids_with_their_file": renamed} if renamed else {}),
        "passed_over": dict(sorted(passed.items())),
        "edited_by_rule": dict(sorted(edits.items())),
        "by_source": dict(sorted(by_source.items())),
        "by_language": dict(sorted(sizes["language"].items())),
        "by_licence": dict(sorted(sizes["licence"].items())),
        "contamination": dict(contamination),
        "partitions": partitions,
    }


def commonest(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """The largest counts, in falling order, equal ones by name; the others together."""
    order = sorted(counts.items(), key=lambda pair: (pair[0] == OTHERS, -pair[1], pair[0]))
    found = dict(order[:most])
    if rest := sum(count for _, count in order[most:]):
        found[OTHERS] = found.get(OTHERS, 0) + rest
    return found


def _add(by_source: dict[str, dict[str, Any]], source: str, row: Mapping[str, int]) -> None:
    counts = by_source.setdefault(
        source,
        {
            "in": 0,
            **dict.fromkeys(OUTCOMES, 0),
            "bytes": 0,
            "dropped_by_rule": {},
            "edited_by_rule": {},
            "passed_over": {},
        },
    )
    for name, number in row.items():
        counts[name] += number
        counts["in"] += number


def _add_to(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name in sorted(more):
        counts[name] = counts.get(name, 0) + more[name]


def _add_edits(edits: dict[str, dict[str, int]], more: Mapping[str, Iterable[int]]) -> None:
    for rule, (documents, characters) in sorted(more.items()):
        change = {"documents": documents, "characters": characters}
        _add_to(edits.setdefault(rule, {"documents": 0, "characters": 0}), change)


def headline(account: Mapping[str, Any]) -> list[str]:
    """The account in sentences: what came, what was kept and dropped, and what is odd in it."""
    sizes = ", ".join(
        f"{language} {row['bytes'] / 1e6:.2f} MB in {row['documents']:,} documents"
        for language, row in account["by_language"].items()
    )
    rules = ", ".join(f"{rule} {count:,}" for rule, count in account["dropped_by_rule"].items())
    return [
        f"{account['in']:,} in = {account['kept']:,} kept + {account['heldout']:,} held out"
        f" + {account['dropped']:,} dropped + {account['unreadable']:,} unreadable",
        f"kept: {sizes}",
        f"dropped: {rules or 'nothing'}",
        *_renamed(account),
        *warnings(account),
    ]


def _renamed(account: Mapping[str, Any]) -> list[str]:
    count = account.get("ids_with_their_file", 0)
    return [f"{count:,} ids stand in an earlier file too: FILE/ID is their name"] if count else []


MOST_UNREADABLE = 0.05


def warnings(account: Mapping[str, Any]) -> list[str]:
    """What was passed over, why records could not be read, and sources that gave nothing."""
    told = []
    if passed := account.get("passed_over"):
        told.append(f"passed over, by kind: {_counts(passed)}")
    if reasons := account.get("unreadable_by_reason"):
        told.append(f"unreadable, by reason: {_counts(reasons)}")
    for source, row in account["by_source"].items():
        if not row["in"]:
            beside = _counts(row.get("passed_over", {}))
            told.append(
                f"warning: source {source} gave nothing"
                + (f"; passed over: {beside}" if beside else "")
            )
        elif row["unreadable"] > MOST_UNREADABLE * row["in"]:
            share = row["unreadable"] / row["in"]
            told.append(f"warning: {share:.1%} of source {source} is unreadable")
    return told


def _counts(counts: Mapping[str, int], most: int = 5) -> str:
    """The largest counts in words."""
    order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    words = [f"{name} {count:,}" for name, count in order[:most]]
    if rest := sum(count for _, count in order[most:]):
        words.append(f"others {rest:,}")
    return ", ".join(words)


def sources_of(inputs: Sequence[Mapping[str, Any]], key: str = "by_source") -> list[str] | None:
    """The sources that the corpora among ``inputs`` have documents of; None if one does not say.

    ``inputs`` as in :meth:`yoriai.Step.expect`. ``key``: the account of a finished corpus.
    """
    names: set[str] = set()
    for value in inputs:
        made = value.get("made")
        if made is not None and made.kind != "corpus":
            continue
        if made is not None:
            rows = made.facts.get(key, {})
            names |= {n for n, row in rows.items() if row.get("documents", row.get("kept", 0))}
        elif "sources" in value and key == "by_source":
            names |= set(value["sources"])
        elif "vocabulary_size" not in value:  # no tokenizer, so a corpus that does not say
            return None
    return sorted(names) or None
