"""The character model against Kneser-Ney written out, and the rules and the step around it."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Altered, Artifact, Document, UsageError, YoriaiError
from yoriai_corpus.rules.perplexity import KenlmPerplexity, Perplexity
from yoriai_corpus.text import character_model
from yoriai_corpus.text.batch import Batch
from yoriai_corpus.text.character_model import CHARACTERS, CharacterModel, train

JAPANESE = [
    f"{who}{what}。"
    for who in ("私は", "先生が", "友だちは", "古い時計が", "小さな猫は")
    for what in ("本を読んでいます", "歌をうたった", "長いあいだ待っていた", "カメラを直した")
]


def batch_of(texts: list[str]) -> Batch:
    return Batch([Document("mine", str(number), text) for number, text in enumerate(texts)])


class KneserNey:
    """Interpolated Kneser-Ney by the book, with dictionaries; ``min_count`` as in the module."""

    def __init__(self, texts: list[str], order: int, min_count: int) -> None:
        self.order = order
        counts: Counter[str] = Counter()
        for text in texts:
            padded = "^" * (order - 1) + text
            counts.update(padded[i : i + order] for i in range(len(text)))
        self.direct: list[dict[str, float]] = [{} for _ in range(order + 1)]
        self.left: list[dict[str, float]] = [{} for _ in range(order + 1)]
        for n in range(order, 0, -1):
            ones, twos = (sum(c == times for c in counts.values()) for times in (1, 2))
            discount = min(0.9, max(0.1, ones / (ones + 2 * twos))) if ones else 0.5
            totals: Counter[str] = Counter()
            for gram, count in counts.items():
                totals[gram[:-1]] += count
            self.left[n] = defaultdict(lambda: 1.0)
            for gram, count in counts.items():
                if count >= min_count or n < 3:
                    self.direct[n][gram] = (count - discount) / totals[gram[:-1]]
                    self.left[n][gram[:-1]] -= self.direct[n][gram]
            counts = Counter(gram[1:] for gram in counts)

    def probability(self, gram: str) -> float:
        n = len(gram)
        if n == 0:
            return 1 / CHARACTERS
        lower = self.probability(gram[1:])
        return self.direct[n].get(gram, 0.0) + self.left[n][gram[:-1]] * lower


TEXTS = st.lists(st.text("abc", min_size=1, max_size=25), min_size=1, max_size=4)


@settings(max_examples=40)
@given(TEXTS, st.text("abcd", max_size=12), st.integers(1, 5), st.integers(1, 2))
def test_probabilities_are_those_of_interpolated_kneser_ney(
    texts: list[str], probe: str, order: int, min_count: int
) -> None:
    model = train(texts, order, min_count)
    oracle = KneserNey(texts, order, min_count)
    padded = "^" * (order - 1) + probe
    expected = [math.log(oracle.probability(padded[i : i + order])) for i in range(len(probe))]
    found = character_model.log_probabilities(model, probe)
    assert found.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(max_examples=20)
@given(TEXTS, st.text("abcd", max_size=5), st.integers(1, 4), st.integers(1, 3))
def test_after_any_text_the_probabilities_of_all_characters_add_up_to_one(
    texts: list[str], before: str, order: int, min_count: int
) -> None:
    model = train(texts, order, min_count)
    known = [
        math.exp(character_model.log_probabilities(model, before + character)[-1])
        for character in "abc"
    ]
    unknown = math.exp(character_model.log_probabilities(model, before + "z")[-1])
    assert sum(known) + (CHARACTERS - 3) * unknown == pytest.approx(1, rel=1e-4)


def test_text_like_the_training_text_is_less_surprising() -> None:
    model = train(JAPANESE)
    found = character_model.perplexities(
        model,
        batch_of(["先生が本を読んでいます。", "がんます先本で生をい。読", "Привет, мир!", ""]),
    )
    assert found[0] < 10 < found[1] < found[2]
    assert math.isnan(found[3])


def test_width_case_and_runs_of_space_make_no_difference() -> None:
    model = train(["abc ABC カタカナ", "x  y"])
    found = character_model.perplexities(model, batch_of(["a ｂ ｶﾀｶﾅ", " A\u3000\n b カタカナ"]))
    assert found[0] == found[1]


@given(st.floats(0, 0.9), st.text("先生が本を読むz", min_size=1, max_size=40))
def test_the_least_likely_characters_are_left_out(outliers: float, text: str) -> None:
    model = train(JAPANESE)
    scores = sorted(character_model.log_probabilities(model, text))
    kept = scores[int(outliers * len(scores)) :]
    (found,) = character_model.perplexities(model, batch_of([text]), outliers)
    assert found == pytest.approx(math.exp(-sum(kept) / len(kept)))


def test_a_saved_model_is_read_back_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    model = train(JAPANESE)
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    character_model.save(model, one)
    character_model.save(train(iter(JAPANESE)), two)
    assert one.read_bytes() == two.read_bytes()
    read = character_model.load(one)
    assert isinstance(read, CharacterModel)
    assert read.size == model.size
    for text in JAPANESE[:3]:
        np.testing.assert_array_equal(
            character_model.log_probabilities(read, text),
            character_model.log_probabilities(model, text),
        )


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    character_model.save(train(JAPANESE), path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["gram_values"] = arrays["gram_values"] + 1
    np.savez(path, **arrays)
    with pytest.raises(YoriaiError, match="damaged"):
        character_model.load(path)
    for content in (b"", b"no model", path.read_bytes()[:-30]):
        path.write_bytes(content)
        with pytest.raises(YoriaiError, match="no character model"):
            character_model.load(path)
    np.savez(path, digest=np.array([object()]), allow_pickle=True)  # nothing is unpickled
    with pytest.raises(YoriaiError, match="no character model"):
        character_model.load(path)


def test_nothing_to_learn_from_is_refused() -> None:
    for texts in ([], [""], [" \n"]):
        with pytest.raises(UsageError, match="no text"):
            train(texts)
    with pytest.raises(UsageError, match="order"):
        train(["a"], order=9)


def test_the_rule_drops_above_and_below_its_limits_and_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    character_model.save(train(JAPANESE), path)
    batch = batch_of(["先生が本を読んでいます。", "がんます先本で生をい。読", ""])
    (low, high, _) = Perplexity(model=str(path)).measure(batch)
    rule = Perplexity(model=str(path), max_perplexity=(low + high) / 2)
    assert [verdict.action for verdict in rule.judge_batch(batch)] == ["keep", "drop", "keep"]
    rule = Perplexity(model=str(tmp_path), min_perplexity=(low + high) / 2)
    assert [verdict.action for verdict in rule.judge_batch(batch)] == ["drop", "keep", "keep"]
    before = rule.fingerprint()
    character_model.save(train(JAPANESE * 2, order=3), path)
    assert rule.fingerprint() != before
    with pytest.raises(UsageError, match="no model"):
        Perplexity(model=str(tmp_path / "none")).measure(batch)


def test_the_step_makes_the_model_of_a_corpus(
    make_corpus: Callable[..., Artifact], run_step: Callable[..., Artifact]
) -> None:
    rows = [{"id": str(n), "text": text, "lang": "ja"} for n, text in enumerate(JAPANESE)]
    rows.append({"id": "en", "text": "an English text", "lang": "en"})
    corpus = make_corpus(rows)
    made = run_step("corpus/character-model", [corpus], order=4, languages=["ja"])
    model = character_model.load(character_model.find(str(made.path)))
    assert model.order == 4
    assert made.facts["ngrams"] == model.size
    assert made.facts["characters"] == sum(map(len, JAPANESE))
    again = run_step("corpus/character-model", [corpus], order=4, languages=["ja"])
    assert again.file("model.npz").read_bytes() == made.file("model.npz").read_bytes()
    character_model.save(train(JAPANESE, order=3), again.path / "model.npz")
    with pytest.raises(Altered, match=r"model\.npz has"):
        Perplexity(model=str(again.path)).measure(batch_of(["a"]))


def test_kenlm_gives_perplexities_of_an_arpa_model(tmp_path: Path) -> None:
    if importlib.util.find_spec("kenlm") is None:
        pytest.skip("kenlm is not installed")
    arpa = tmp_path / "model.arpa"
    arpa.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n"
        "-1.0\t<unk>\n-99\t<s>\n-0.5\t</s>\n-0.25\ta\n\n\\end\\\n"
    )
    rule = KenlmPerplexity(model=str(arpa), outliers=0)
    (found,) = rule.measure(batch_of(["a a"]))
    assert found == pytest.approx(10 ** ((0.25 + 0.25 + 0.5) / 3), rel=1e-3)


def test_without_kenlm_the_rule_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kenlm", None)
    path = tmp_path / "model.arpa"
    path.write_text("")
    with pytest.raises(UsageError, match="needs the package kenlm"):
        KenlmPerplexity(model=str(path)).measure(batch_of(["a"]))
