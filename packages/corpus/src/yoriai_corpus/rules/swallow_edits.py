"""Rules that change a text: the two edits of the Swallow Corpus.

After ``swallow-llm/swallow-corpus`` at 2d03507 (``kutoten.py``, ``footer.py``).
"""

from __future__ import annotations

import re
from functools import cache
from typing import ClassVar

from pydantic import Field

from yoriai import Document, Filter, Verdict

_BEFORE = "[）」』］〕】〉》ぁ-ゖァ-ヺ々〇〻\u3400-\u9fff\uf900-\ufaff]"
# The wide mark; it and the Japanese mark after Japanese text; what is replaced.
_WIDE = tuple(
    (
        wide,
        re.compile(_BEFORE + wide),
        re.compile(_BEFORE + mark),
        re.compile(f"(?<=[^０-９Ａ-Ｚａ-ｚ^])({wide}+)"),
    )
    for wide, mark in ("，、", "．。")
)


class NormalizePunctuation(Filter):
    """Replace ，．by 、。where a text uses the former more (Swallow's ``kutoten.py``).

    Comma and stop are decided on apart: by how many runs of each form follow kana, kanji or a
    closing bracket. A mark right after a full-width digit or letter (or ``^``) stays.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("ja",), description="languages it judges; empty: all")

    def judge(self, document: Document) -> Verdict:
        text = document.text
        edits = 0
        for (wide, wides, marks, target), mark in zip(_WIDE, "、。", strict=True):
            if wide in text and len(marks.findall(text)) < len(wides.findall(text)):
                parts = target.split(text)  # what stands between the runs, and the runs
                parts[1::2] = [mark * len(run) for run in parts[1::2]]
                text, edits = "".join(parts), edits + len(parts) // 2
        return Verdict("edit", text=text, value=edits) if edits else self.KEEP


# Own words; the published list (footer.py) has 70 others. See TrimFooter.words.
FOOTER_WORDS = (
    "Copyright",
    "copyright",
    "COPYRIGHT",
    "©",
    "(C)",
    "(c)",
    "All Rights Reserved",
    "All rights reserved",
    "無断転載",
    "無断複製",
    "禁じます",
    "著作権",
    "個人情報保護方針",
    "プライバシーポリシー",
    "特定商取引法",
    "利用規約",
    "お問い合わせ",
    "お問合せ",
    "サイトマップ",
    "運営会社",
    "会社概要",
    "ログイン",
    "会員登録",
    "パスワード",
    "トップページ",
    "ページの先頭",
    "ページトップ",
    "前の記事",
    "次の記事",
    "関連記事",
    "人気記事",
    "最新記事",
    "記事一覧",
    "カテゴリー",
    "アーカイブ",
    "コメントする",
    "コメントを書く",
    "トラックバック",
    "シェアする",
    "ツイートする",
    "フォローする",
    "メールマガジン",
    "ホームへ戻る",
    "スポンサー",
    "広告",
    "https://",
    "http://",
)


class TrimFooter(Filter):
    """Cut a text at the first of its last ``lines`` lines that is mostly words of footers.

    Swallow's ``footer.py``: more than 30 % of the line's characters, longest words first. The
    words here are our own; give the published ones as ``words`` to repeat that corpus.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("ja",), description="languages it judges; empty: all")
    lines: int = Field(10, ge=1, description="how many lines at the end are looked at")
    max_share: float = Field(0.3, ge=0, le=1, description="a line with more than this is cut off")
    words: tuple[str, ...] = Field(FOOTER_WORDS, description="what footers are made of")

    def judge(self, document: Document) -> Verdict:
        lines = document.text.split("\n")
        words = _longest_first(self.words)
        for index in range(max(0, len(lines) - self.lines), len(lines)):
            line = rest = lines[index]
            for word in words:
                rest = rest.replace(word, "")
            if line and (len(line) - len(rest)) / len(line) > self.max_share:
                kept = "\n".join(lines[:index])
                return Verdict("edit", text=kept, value=len(lines) - index, span=line[:40])
        return self.KEEP


@cache
def _longest_first(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(filter(None, words), key=lambda word: (-len(word), word)))
