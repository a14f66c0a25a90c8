"""mixture.yaml: what it can say, and what is refused before any work starts."""

from __future__ import annotations

import os
import re
from fractions import Fraction

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai.errors import Altered, NotFound, UsageError
from yoriai.mixture import NAME, Mixture, build_mixture, read_mixture

BILLION = 10**9


EMPTY = {"config": {}, "outside": {}, "facts": {}, "inputs": [], "sources": []}


def value_of(phases, **shards):
    """A mapping as the file holds it; shards by their number of tokens."""
    shards = shards or {"ja": 1000, "en": 500}
    return {
        "format": 1,
        "tokenizer": "0f3c",
        "vocabulary_size": 300,
        "end_id": 2,
        "shards": {n: {"files": [n], "tokens": t, "documents": 1} for n, t in shards.items()},
        "phases": phases,
    }


def build(phases, **shards):
    return build_mixture(value_of(phases, **shards))


def test_llm_jp_13b_can_be_said_ten_folds_and_a_last_phase_of_high_quality():
    sizes = {"ja_mc4": 136, "ja_wiki": 1.5, "pile": 135, "en_wiki": 5, "stack": 10}
    shards = {name: int(size * BILLION) for name, size in sizes.items()}
    # The 27 billion of the last phase: Wikipedia again, and a tenth of the web once more.
    folds = [
        {"name": f"fold-{n}", "tokens": 27 * BILLION, "weights": dict(sizes)} for n in range(10)
    ]
    last = {
        "name": "high-quality",
        "budgets": {"ja_wiki": 3 * BILLION, "en_wiki": 10 * BILLION, "ja_mc4": 14 * BILLION},
        "max_epochs": {"ja_wiki": 3, "en_wiki": 3, "ja_mc4": 1.1},
    }
    mixture = build([*folds, last], **shards)
    assert mixture.length == 297 * BILLION
    rows = mixture.planned(297 * BILLION)
    assert sum(sum(row.values()) for row in rows) == 297 * BILLION
    assert float(sum(row["ja_mc4"] for row in rows[:10])) == pytest.approx(
        136 / 287.5 * 270 * BILLION
    )
    assert mixture.weights()["stack"] == pytest.approx(10 / 287.5 * 270 / 297)
    with pytest.raises(UsageError, match="the phases of the mixture end after 297,000,000,000"):
        mixture.check_length(300 * BILLION)
    mixture.check_length(297 * BILLION)


def test_what_is_written_is_read_and_is_yaml_for_anyone(tmp_path):
    phases = [
        {"name": "早い", "tokens": 600, "weights": {"ja": 2.5, "en": 1}, "max_epochs": {"en": 4}},
        {"name": "late", "budgets": {"ja": 400}},
    ]
    mixture = build(phases)
    path = mixture.save(tmp_path)
    first = path.read_bytes()
    assert read_mixture(tmp_path) == mixture
    assert read_mixture(tmp_path).save(tmp_path).read_bytes() == first
    assert yaml.safe_load(first)["phases"] == phases
    assert "早い".encode() in first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "colour: unknown key"),
        ({"format": 2}, "format: "),
        ({"vocabulary_size": 2**31 + 1}, "vocabulary_size: .*less than or equal to 2147483648"),
        ({"end_id": 300}, "end_id 300 is outside the vocabulary of 300"),
        ({"shards": {}}, "shards: "),
        ({"phases": []}, "phases: "),
        ({"shards": {"ja": {"files": ["../ja"], "tokens": 1, "documents": 1}}}, r"'\.\./ja' is no"),
        ({"shards": {"ja": {"files": ["/ja"], "tokens": 1, "documents": 1}}}, "'/ja' is no name"),
        ({"shards": {"ja": {"files": ["a", "a"], "tokens": 1, "documents": 1}}}, "named twice"),
        ({"shards": {"ja": {"files": [], "tokens": 1, "documents": 1}}}, "shards.ja.files"),
    ],
)
def test_a_file_that_says_nonsense_is_refused_with_the_place(change, message):
    with pytest.raises(UsageError, match=message):
        build_mixture({**value_of([{"name": "a", "weights": {"ja": 1}}]), **change})


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([{"name": "a", "weights": {"jp": 1}}], "names 'jp', no shard of that name; did you mean"),
        ([{"name": "a", "weights": {"ja": 1}, "max_epochs": {"zz": 1}}], "the shards are ja, en"),
        ([{"name": "a"}], "'a' needs either weights or budgets"),
        ([{"name": "a", "weights": {"ja": 1}, "budgets": {"ja": 1}}], "either weights or budgets"),
        ([{"name": "a", "weights": {"ja": 0}}], "'a': every share is zero"),
        ([{"name": "a", "weights": {"ja": -1}}], "weights.ja"),
        ([{"name": "a", "weights": {"ja": float("nan")}}], "weights.ja"),
        ([{"name": "a", "weights": {"ja": 1}, "tokens": 0}], "tokens"),
        ([{"name": "a", "budgets": {"ja": 9}, "tokens": 10}], "its budgets sum to 9, tokens says"),
        ([{"name": "a", "weights": {"ja": 1}}] * 2, "two phases are called 'a'"),
        (
            [{"name": "a", "weights": {"ja": 1}}, {"name": "b", "weights": {"ja": 1}}],
            "phase 'a' has no length, and others come after it",
        ),
        ([{"name": "a", "weights": {"void": 1}}], "draws from 'void', an empty shard"),
        (
            [{"name": "a", "budgets": {"ja": 2500}}],
            "'ja' to 2,500 tokens; the shard has 1,000: 2.5 epochs, allowed 1",
        ),
        (
            [{"name": "a", "budgets": {"ja": 2500}, "max_epochs": {"ja": 2}}],
            "2.5 epochs, allowed 2",
        ),
        (
            [{"name": "a", "tokens": 900, "weights": {"en": 1}, "max_epochs": {"en": 1.5}}],
            "'en' to 900 tokens; the shard has 500: 1.8 epochs, allowed 1.5",
        ),
        (
            [
                {"name": "a", "tokens": 800, "weights": {"ja": 1}},
                {"name": "b", "budgets": {"ja": 400}},
            ],
            "phase 'b' would bring 'ja' to 1,200 tokens",
        ),
    ],
)
def test_phases_that_cannot_be_drawn_are_refused_in_words(phases, message):
    with pytest.raises(UsageError, match=message):
        build(phases, ja=1000, en=500, void=0)


def test_a_phase_without_end_is_judged_when_its_length_is_known():
    mixture = build([{"name": "a", "weights": {"ja": 1, "en": 1}, "max_epochs": {"en": 2}}])
    mixture.check_length(2000)
    with pytest.raises(UsageError, match=r"'en' to 1,250 tokens.* 2\.5 epochs, allowed 2"):
        mixture.check_length(2500)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), st.floats(1e-9, 1e9), min_size=1),
    st.lists(st.integers(1, 10**12), max_size=3),
    st.integers(1, 10**13),
)
def test_planned_tokens_sum_to_the_length_exactly(weights, lengths, tokens):
    lengths = [*lengths, None]
    phases = [{"name": str(n), "tokens": t, "weights": weights} for n, t in enumerate(lengths)]
    mixture = build(phases, **dict.fromkeys(weights, 5))
    rows = mixture.planned(tokens)
    assert sum(sum(row.values()) for row in rows) == tokens
    for row in rows:
        whole = sum(map(Fraction, weights.values()))
        for name, count in row.items():
            assert count == sum(row.values()) * Fraction(weights[name]) / whole


def test_shares_over_all_phases_are_those_of_the_last_if_it_has_no_end():
    early = {"name": "a", "tokens": 300, "weights": {"ja": 1}}
    ended = build([early, {"name": "b", "tokens": 100, "weights": {"en": 1}}])
    assert ended.weights() == {"ja": 0.75, "en": 0.25}
    assert build([early, {"name": "b", "weights": {"en": 1}}]).weights() == {"ja": 0, "en": 1}


def test_a_mixture_without_end_is_read_up_to_a_bound(tmp_path):
    (tmp_path / NAME).touch()
    os.truncate(tmp_path / NAME, 2**33)
    with pytest.raises(Altered, match="more than 4,194,304 bytes; no more are read"):
        read_mixture(tmp_path)


def test_a_folder_without_one_and_a_file_that_is_none_are_told_apart(tmp_path):
    with pytest.raises(NotFound, match=NAME):
        read_mixture(tmp_path)
    for text in ("[1, 2", "- 1\n", "\x00"):
        (tmp_path / NAME).write_text(text)
        with pytest.raises(Altered, match=NAME):
            read_mixture(tmp_path)


def test_every_key_is_described():
    waiting = [Mixture.model_json_schema()]
    while waiting:
        schema = waiting.pop()
        waiting += schema.pop("$defs", {}).values()
        for name, field in schema["properties"].items():
            assert field.get("description"), name


def altered(data: bytes, how: str) -> bytes:
    middle = len(data) // 2
    return {
        "cut": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "longer": data + b"x",
    }[how]


@pytest.mark.parametrize("how", ["cut", "flipped", "longer", "gone", "linked"])
@pytest.mark.parametrize("name", ["ja.bin", "ja.idx", "ja.documents.parquet", "mixture.yaml"])
def test_a_sealed_file_that_was_altered_is_refused_by_name(tmp_path, name, how):
    from yoriai import artifact

    folder = tmp_path / "out"
    folder.mkdir()
    for stem in ("ja.bin", "ja.idx", "ja.documents.parquet"):
        (folder / stem).write_bytes(bytes(range(100)))
    value = {
        "tokenizer": "0", "vocabulary_size": 10, "end_id": 2,
        "shards": {"ja": {"files": ["ja"], "tokens": 9, "documents": 1}},
        "phases": [{"name": "all", "weights": {"ja": 1}}],
    }  # fmt: skip
    build_mixture(value).save(folder)
    identity = {**dict.fromkeys(artifact.IDENTITY[1:-1], ""), **EMPTY}
    sealed = artifact.seal(folder, tmp_path / "t@1", identity=identity, circumstances={})
    assert read_mixture(sealed.path).shards["ja"].tokens == 9
    path = sealed.path / name
    if how == "gone":
        path.unlink()
    elif how == "linked":  # to the very same bytes
        path.unlink()
        path.symlink_to(tmp_path / "same")
        (tmp_path / "same").write_bytes(bytes(range(100)))
    else:
        path.write_bytes(altered(path.read_bytes(), how))
    for quick in (False, True):
        with pytest.raises(Altered, match=re.escape(str(path))):
            read_mixture(sealed.path, quick=quick)


def test_every_byte_is_compared_once_and_large_files_by_size_where_it_has_to_be_quick(
    tmp_path, monkeypatch
):
    from yoriai import artifact, files, mixture

    (tmp_path / "out").mkdir()
    for name, size in (("a.bin", 10), ("b.bin", 1000)):
        (tmp_path / "out" / name).write_bytes(bytes(size))
    identity = {**dict.fromkeys(artifact.IDENTITY[1:-1], ""), **EMPTY}
    sealed = artifact.seal(tmp_path / "out", tmp_path / "t@1", identity=identity, circumstances={})
    read, digest = [], files.digest_file
    monkeypatch.setattr(mixture, "QUICK_BYTES", 500)
    monkeypatch.setattr(files, "digest_file", lambda path: read.append(path.name) or digest(path))
    monkeypatch.setattr(artifact, "SETTLED_NS", 0)  # these files will not be written again
    mixture.check_sealed(sealed.path, quick=True)
    assert read == ["a.bin"]
    mixture.check_sealed(sealed.path)
    mixture.check_sealed(sealed.path)
    assert read == ["a.bin", "b.bin"]
    (sealed.path / "b.bin").write_bytes(b"x" * 1000)
    mixture.check_sealed(sealed.path, quick=True)
    with pytest.raises(Altered, match=r"b\.bin has other bytes"):
        mixture.check_sealed(sealed.path)


def test_every_key_stands_under_file_formats():
    from pathlib import Path

    from yoriai.mixture import Phase, ShardFiles

    page = Path(__file__).parents[3] / "docs" / "reference" / "formats.md"
    if not page.is_file():
        pytest.skip("the pages are not beside the package")
    text = page.read_text(encoding="utf-8").partition("## mixture.yaml")[2].partition("\n## ")[0]
    keys = [*Mixture.model_fields, *ShardFiles.model_fields, *Phase.model_fields]
    assert [key for key in keys if f"`{key}`" not in text] == []
