"""One's own files: nothing in them is lost, and nothing in them stops the work."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoriai import Artifact, Document, NotFound, Unreadable, UsageError
from yoriai_corpus.sources.jsonl import JsonlFiles

GOOD = b'{"text": "good"}'
NASTY = [
    b"",
    b"   ",
    b"{",
    b"null",
    b"3",
    b'"a string"',
    b"[]",
    b"{}",
    b'{"text": null}',
    b'{"text": 3}',
    b'{"text": ["a"]}',
    b'{"body": "other field"}',
    b'{"text": "\\ud800"}',
    b'{"text": "ok", "id": "\\udfff"}',
    b'{"text": "ok", "url": "\\ud83d"}',
    b'{"text": "ok", "lang": "../../escape"}',
    b'{"text": "ok", "lang": "zh.Hant"}',
    b'{"text": "ok", "lang": "\\ud800"}',
    b'{"text": "\xff\xfe"}',
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "cut',
    b"[" * 100_000,
    b'{"text": "ok", "n": ' + b"9" * 5000 + b"}",
    b"\x00\x00\x00{",
    b"\xff\xfe{\x00",
    b'{"text": ""}',
    b'{"text": "raw \x00 nul"}',
]
FINE = [
    GOOD,
    b'\xef\xbb\xbf{"text": "with a mark"}',
    b'{"text": "carriage return"}\r',
    b'{"text": "nul \\u0000 inside"}',
    b'{"text": "\xe6\x97\xa5\xe6\x9c\xac"}',
    b'{"text": "emoji \\ud83d\\ude00"}',
    b'{"text": "numbered", "id": 0}',
    b'{"text": "id of a wrong type", "id": {"a": 1}}',
    b'{"text": "ok", "id": ' + b"[" * 100 + b"]" * 100 + b"}",
    b'{"text": "wrong types", "lang": 3, "url": [], "licence": {}, "date": 4.5}',
    b'{"text": "one", "text": "the last one counts"}',
]


@pytest.mark.parametrize("line", NASTY, ids=range(len(NASTY)))
def test_a_line_that_cannot_be_used_is_counted_with_a_reason(
    line: bytes, make_corpus: Callable[..., Artifact], rows_of: Any
) -> None:
    corpus = make_corpus(GOOD + b"\n" + line + b"\n" + GOOD)
    (row,) = rows_of(corpus, "unreadable")
    assert row["id"] == f"docs.jsonl@{len(GOOD) + 1}"
    assert row["reason"]
    assert corpus.facts["kept"] == 2


@pytest.mark.parametrize("line", FINE, ids=range(len(FINE)))
def test_a_line_that_is_odd_but_readable_is_kept(
    line: bytes, make_corpus: Callable[..., Artifact]
) -> None:
    assert make_corpus(line + b"\n").facts["kept"] == 1


# Of so many at least one is not among the fifth that is held out.
STAY = [b'{"id": "stays%d", "text": "a text %d"}' % (n, n) for n in range(8)]

line = st.one_of(
    st.sampled_from([*NASTY, *FINE]),
    st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")),
    st.builds(
        lambda id_, text: json.dumps({"id": id_, "text": text}).encode(),
        st.sampled_from(["a", "b", "c", 1, "1", "", None, True]),
        st.text(max_size=20),
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(line, max_size=30), packed=st.booleans(), cut=st.integers(0, 40))
def test_what_comes_in_is_kept_held_out_dropped_or_unreadable(
    lines: list[bytes], packed: bool, cut: int,
    write_jsonl: Callable[..., Path], run_step: Callable[..., Artifact], rows_of: Any,
) -> None:  # fmt: skip
    data = b"\n".join([*lines, GOOD, *STAY])
    files = [str(write_jsonl(data))]
    if packed:
        whole = gzip.compress(data)
        files.append(str(write_jsonl(whole[: len(whole) - cut], "more.jsonl.gz")))
    source = {"use": "corpus/jsonl", "paths": files, "name": "mine"}
    corpus = run_step(
        "corpus/build",
        sources=[source],
        rules=[{"use": "corpus/min-length", "characters": 4}],
        heldout=0.2,
        name="text",
    )
    facts = corpus.facts
    parts = {
        "kept": "documents", "heldout": "heldout", "dropped": "dropped", "unreadable": "unreadable"
    }  # fmt: skip
    tables = {part: rows_of(corpus, table) for part, table in parts.items()}
    assert {part: len(rows) for part, rows in tables.items()} == {p: facts[p] for p in parts}
    assert facts["in"] == sum(facts[part] for part in parts)
    assert facts["in"] == sum(row["in"] for row in facts["by_source"].values())
    if not packed:
        assert facts["in"] == len(lines) + 1 + len(STAY)
    named = [(r["source"], r["id"]) for p in ("kept", "heldout", "dropped") for r in tables[p]]
    assert max(Counter(named).values()) == 1


def test_of_two_rows_with_one_id_the_first_is_kept_and_the_later_is_unreadable(
    make_corpus: Callable[..., Artifact], rows_of: Any
) -> None:
    corpus = make_corpus([{"id": "a", "text": "first"}, {"id": "a", "text": "second"}])
    assert [row["text"] for row in rows_of(corpus, "documents")] == ["first"]
    assert rows_of(corpus, "unreadable") == [
        {"source": "mine", "id": "a", "reason": "duplicate id"}
    ]


def test_an_id_stays_taken_when_a_rule_dropped_its_document(
    make_corpus: Callable[..., Artifact],
) -> None:
    rows = [{"id": "a", "text": "x"}, {"id": "a", "text": "long enough"}, "another text"]
    facts = make_corpus(rows, rules=[{"use": "corpus/min-length", "characters": 5}]).facts
    assert (facts["dropped"], facts["unreadable"], facts["kept"]) == (1, 1, 1)


def test_one_id_in_two_files_of_a_source_names_two_documents(
    write_jsonl: Callable[..., Path], run_step: Callable[..., Artifact], rows_of: Any
) -> None:
    paths = [str(write_jsonl([{"id": "a", "text": name}], f"{name}.jsonl")) for name in ("y", "x")]
    sources = [{"use": "corpus/jsonl", "paths": paths}]
    corpus = run_step("corpus/build", sources=sources, heldout=0)
    found = [(row["id"], row["text"]) for row in rows_of(corpus, "documents")]
    assert found == [("a", "x"), ("y.jsonl/a", "y")]
    assert corpus.facts["unreadable"] == 0


def test_two_sources_of_one_name_that_share_an_id_are_a_fault_of_the_recipe(
    write_jsonl: Callable[..., Path], run_step: Callable[..., Artifact]
) -> None:
    sources = [
        {"use": "corpus/jsonl", "name": "s", "paths": [str(write_jsonl([t]))]}
        for t in ("one", "two")
    ]
    with pytest.raises(UsageError, match=r"sources\[0\] and sources\[1\]") as caught:
        run_step("corpus/build", sources=sources)
    assert "its own name" in caught.value.hint


def test_a_gzip_file_that_breaks_off_keeps_what_was_read_and_counts_the_end(
    write_jsonl: Callable[..., Path],
) -> None:
    whole = gzip.compress(b"\n".join(b'{"text": "%d"}' % n for n in range(20_000)))
    path = write_jsonl(whole[: len(whole) // 2], "cut.jsonl.gz")
    items = list(JsonlFiles(paths=[str(path)]).read("cut.jsonl.gz"))
    good = [item for item in items if isinstance(item, Document)]
    assert [item.text for item in good] == [str(n) for n in range(len(good))]
    assert len(items) == len(good) + 1 > 2
    assert "breaks here" in getattr(items[-1], "reason", "")


def test_fields_of_a_row_win_over_those_of_the_source(write_jsonl: Callable[..., Path]) -> None:
    row = {"body": "t", "lang": "ja", "license": "MIT", "url": "u", "date": "2024", "id": 0}
    path = write_jsonl([row, {"body": "t"}])
    keys = {"text_field": "body", "language": "en", "licence": "CC0-1.0", "name": "n"}
    first, second = JsonlFiles(paths=[str(path)], **keys).read("docs.jsonl")
    assert first == Document("n", "0", "t", "ja", "u", "MIT", "2024")
    place = f"docs.jsonl@{len(json.dumps(row)) + 1}"
    assert second == Document("n", place, "t", "en", "", "CC0-1.0", "")


def test_a_pattern_that_matches_nothing_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file matches"):
        JsonlFiles(paths=[str(tmp_path / "*.jsonl")]).partitions()


def test_the_fingerprint_changes_with_the_bytes(tmp_path: Path) -> None:
    source = JsonlFiles(paths=[str(tmp_path / "*.jsonl")])
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    before = source.fingerprint()
    assert source.fingerprint() == before
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"\n")
    assert source.fingerprint() != before


# --- layouts ------------------------------------------------------------------------------


def read_one(row: Any, **keys: Any) -> Any:
    """The only item of a file with one row, by way of memory."""
    line = row if isinstance(row, bytes) else json.dumps(row).encode()
    return JsonlFiles(paths=["x"], **keys).parser()("x@0", line)


def test_mc4_gives_its_time_as_the_date() -> None:
    row = {"text": "本文", "url": "https://a.jp/", "timestamp": "2019-04-19T20:21:19Z"}
    item = read_one(row, layout="mc4", language="ja", licence="ODC-BY-1.0")
    assert item == Document(
        "local", "x@0", "本文", "ja", "https://a.jp/", "ODC-BY-1.0", "2019-04-19T20:21:19Z"
    )


def test_pile_puts_the_part_it_comes_from_before_the_id() -> None:
    assert read_one({"text": "t", "meta": {"pile_set_name": "Books3"}}, layout="pile").id == (
        "Books3/x@0"
    )
    assert read_one({"text": "t", "meta": None}, layout="pile").id == "x@0"


def test_stack_gives_path_licences_and_address() -> None:
    row = {
        "content": "int a;",
        "ext": "c",
        "lang": "C",
        "max_stars_repo_name": "who/what",
        "max_stars_repo_path": "src/a.c",
        "max_stars_repo_head_hexsha": "abc",
        "max_stars_repo_licenses": ["MIT", "ISC"],
    }
    item = read_one(row, layout="stack")
    assert (item.text, item.language, item.id) == ("int a;", "code", "who/what/src/a.c")
    assert item.licence == "MIT, ISC"
    assert item.url == "https://github.com/who/what/blob/abc/src/a.c"
    assert read_one({"content": "x"}, layout="stack").id == "x@0"


def test_a_field_may_lie_inside_another() -> None:
    row = {"a": {"b": {"t": "text"}}, "m": {"url": "u", "id": 7}, "m.url": None}
    item = read_one(row, text_field="a.b.t", url_field="m.url", id_field="m.id")
    assert (item.text, item.url, item.id) == ("text", "u", "7")
    assert read_one({"a.b": "t"}, text_field="a.b").text == "t"
    for bad in ({"a": 3}, {"a": {"b": 3}}, {"a": []}, {}):
        assert "no text under 'a.b.t'" in read_one(bad, text_field="a.b.t").reason


def test_what_orjson_refuses_and_json_allows_is_read() -> None:
    assert read_one(b'{"text": "t", "n": NaN, "m": 1e999}').text == "t"
    assert read_one(b'{"text": "t", "id": 123456789012345678901234567890}').id == (
        "123456789012345678901234567890"
    )
    assert read_one(b'{"text": "t", "id": 1.5}').id == "x@0"
    assert read_one(b'{"text": "t", "other": "\\ud800"}').text == "t"


plain_value = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=3), st.floats(allow_nan=False),
    st.lists(st.text(max_size=2), max_size=2),
)  # fmt: skip


@settings(max_examples=300)
@given(
    row=st.dictionaries(
        st.sampled_from(
            ["text", "id", "url", "lang", "language", "licence", "license", "date", "more"]
        ),
        plain_value,
    )
)
def test_the_quick_way_says_what_the_general_one_says(row: dict[str, Any]) -> None:
    quick = read_one(row, language="ja", licence="MIT")
    # A name that lies inside another one takes the general way.
    moved = {("in", key): value for key, value in row.items()}
    nested = {"more": row.get("more"), **{key: value for (_, key), value in moved.items()}}
    general = read_one({"in": {"text": row.get("text")}, **nested}, text_field="in.text",
                       language="ja", licence="MIT")  # fmt: skip
    if isinstance(quick, Document):
        assert general == quick
    else:
        assert type(general) is type(quick)


def test_a_very_long_line_is_set_aside_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * (1 << 20) + b'"}\n' + GOOD)
    long, good = JsonlFiles(paths=[str(path)], max_record_mb=1).read("a.jsonl")
    assert "longer than" in getattr(long, "reason", "")
    assert isinstance(good, Document)


def test_invalid_utf8_in_the_middle_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([GOOD, b'{"text": "\xff"}', b'{"text": "\xe6\x97', GOOD]))
    items = list(JsonlFiles(paths=[str(path)]).read("a.jsonl"))
    assert [type(item) for item in items] == [Document, Unreadable, Unreadable, Document]
    assert items[1].id == f"a.jsonl@{len(GOOD) + 1}"


def test_a_corpus_is_the_same_however_its_files_are_cut(
    write_jsonl: Callable[..., Path], run_step: Callable[..., Artifact], rows_of: Any
) -> None:
    rows = [{"text": f"{n} " + "x" * 20_000} for n in range(200)]
    path = write_jsonl(rows)
    made = []
    for split_mb in (1, 64):
        source = {"use": "corpus/jsonl", "paths": [str(path)], "split_mb": split_mb}
        keys = {"dedup": {"exact": False, "near": None}, "heldout": 0, "name": "text"}
        corpus = run_step("corpus/build", sources=[source], **keys)
        made.append(rows_of(corpus, "documents"))
    assert len(JsonlFiles(paths=[str(path)], split_mb=1).partitions()) == 4
    assert made[0] == made[1]
    assert len(made[0]) == 200


@pytest.mark.parametrize(
    ("data", "word", "count"),
    [
        (b'[{"text": "a"}, {"text": "b"}]', "a JSON array", 2),
        (b'[\n{"text": "a"},\n{"text": "b"}\n]\n', "a JSON array", 2),
        (b'{"n": 2, "data": [{"text": "a"}, {"text": "b"}]}\n', "rows under 'data'", 2),
        (b'{"messages": [{"a": 1}, {"a": 2}]}\n{"messages": []}\n', "text", 2),
        (b"[\n", "a JSON array", 1),
        (b'{"text": "a"}{"text": "}{"} {"text": "c"}\n{"text": "d"}\n', "several JSON values", 3),
        ('{"text": "a"}\n{"text": "《਀"}\n'.encode("utf-16"), "UTF-16", 2),
        ('{"text": "《"}\n{"text": "b"}'.encode("utf-16-le"), "UTF-16", 2),
        ('\n{"text": "a"}\n'.encode("utf-16-be"), "UTF-16", 2),
        ('{"text": "a"}\n'.encode("utf-32"), "UTF-16", 1),
    ],
)
def test_a_file_of_another_kind_says_what_it_is(
    tmp_path: Path, data: bytes, word: str, count: int
) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    items = list(JsonlFiles(paths=[str(tmp_path / "a.jsonl")]).read("a.jsonl"))
    told = [item.reason for item in items if isinstance(item, Unreadable) and word in item.reason]
    assert len(told) == count


@pytest.mark.parametrize("split_mb", [1, 64])
def test_lines_that_end_with_carriage_returns_alone_are_read(tmp_path: Path, split_mb: int) -> None:
    rows = [json.dumps({"id": str(n), "text": "}{ " + "x" * 200_000}) for n in range(20)]
    (tmp_path / "a.jsonl").write_bytes("\r".join(rows).encode())
    source = JsonlFiles(paths=[str(tmp_path / "a.jsonl")], split_mb=split_mb)
    items = [item for partition in source.partitions() for item in source.read(partition)]
    assert [item.id for item in items if isinstance(item, Document)] == [str(n) for n in range(20)]
    assert len(items) == 20
