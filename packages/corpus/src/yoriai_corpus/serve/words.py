"""What the pages say, in English and Japanese."""

from __future__ import annotations

LANGUAGES = {"en": "English", "ja": "日本語"}

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Corpus search", "コーパス検索"),
    "search": ("Search", "検索"),
    "trace": ("Trace", "出どころ"),
    "dropped": ("Dropped", "落とした文書"),
    "api": ("API", "API"),
    "query": ("Text to look for", "探す文字列"),
    "or": ("or", "または"),
    "and": ("and", "かつ"),
    "not": ("but not", "ただし含まない"),
    "exact": (
        "as written (width and case matter)",
        "書いたとおり（全角・半角、大文字・小文字を区別）",
    ),
    "names": ("in names, addresses and reasons", "名前、アドレス、理由を探す"),
    "since": ("from date", "この日から"),
    "until": ("to date", "この日まで"),
    "more": ("More conditions", "条件を加える"),
    "times_in": ("Occurrences: {0}; documents: {1}", "{0} か所（{1} 件の文書）"),
    "nothing": ("Nothing was found.", "見つかりませんでした。"),
    "spread": (
        "Of so many places those shown are spread evenly over all of them.",
        "数が多いので、すべての場所から均等に選んで示しています。",
    ),
    "by": ("Counts by {0}", "{0}ごとの数"),
    "source": ("source", "出どころ"),
    "language": ("language", "言語"),
    "state": ("state", "状態"),
    "rule": ("rule", "規則"),
    "licence": ("licence", "ライセンス"),
    "corpus": ("corpus", "コーパス"),
    "times": ("times", "回数"),
    "documents": ("documents", "文書"),
    "document": ("document", "文書"),
    "kept": ("kept", "残した"),
    "held out": ("held out", "取り置いた"),
    "dropped_state": ("dropped", "落とした"),
    "unreadable": ("unreadable", "読めなかった"),
    "only": ("only these", "これだけに絞る"),
    "any": ("any {0}", "{0}を限らない"),
    "unstated": ("unstated", "記載なし"),
    "next": ("Next", "次へ"),
    "previous": ("Previous", "前へ"),
    "hits": ("Places {0} to {1}", "{0}〜{1} 番目の場所"),
    "at": ("at character {0}", "{0} 文字目"),
    "story": ("What became of it", "この文書の経過"),
    "value": ("measured", "値"),
    "threshold": ("limit", "しきい値"),
    "span": ("because of", "理由となった箇所"),
    "duplicate_of": ("duplicate of", "重複の相手"),
    "url": ("address", "アドレス"),
    "date": ("date", "日付"),
    "characters": ("characters", "文字数"),
    "stood_for": ("kept in place of", "代わりに落とした重複"),
    "same_as": ("belongs to the cluster of", "属する重複の組"),
    "seen": ("steps that saw it", "これを見た学習ステップ"),
    "seen_tokens": ("{0} tokens", "{0} トークン"),
    "seen_of": ("{0}: {1} of {2} steps", "{0}：全 {2} ステップのうち {1} ステップ"),
    "licences": ("documents by licence", "ライセンスごとの文書"),
    "contamination": ("evaluation items found in it", "含んでいる評価データ"),
    "text": ("Text", "本文"),
    "empty_text": ("There is no text of it.", "本文はありません。"),
    "trace_intro": (
        "Paste what a model wrote. Its longest pieces that stand in the corpus word for word are"
        " marked; a piece that would stand there by chance is left out if it is shorter than 8"
        " characters.",
        "モデルの出力を貼り付けてください。コーパスに一字一句そのまま現れる最も長い部分に印を付けます。"
        "8 文字より短いものは示しません。",
    ),
    "trace_text": ("What a model wrote", "モデルの出力"),
    "find_spans": ("Find where it stands", "出どころを探す"),
    "find_near": (
        "Also what nearly stands there (slower)",
        "ほぼ同じ部分も探す（時間がかかります）",
    ),
    "covered": (
        "{0} of {1} characters stand in the corpus, in {2} pieces.",
        "{1} 文字のうち {0} 文字が、{2} 個の部分としてコーパスにあります。",
    ),
    "near": ("Nearly so: {0}", "ほぼ同じ部分：{0}"),
    "near_intro": (
        "Copies with some characters changed. Between more than 8 characters that agree on either"
        " side one edit is bridged.",
        "文字がいくつか違う写しです。両側で 8 文字より多く一致していれば、一つの違いをまたぎます。",
    ),
    "near_left_out": (
        "Not looked at: {0} seeds that are too frequent, {1} stretches of documents.",
        "調べなかったもの：数が多すぎる種 {0} 個、文書の部分 {1} 個。",
    ),
    "edits": ("edits", "違い"),
    "stands": ("what stands there", "文書にある文字"),
    "piece": ("piece", "部分"),
    "bits": ("rarity in bits", "珍しさ（ビット）"),
    "dropped_intro": (
        "Every document that was read and not kept, by the rule that dropped it.",
        "読んだが残さなかった文書のすべてを、落とした規則ごとに示します。",
    ),
    "newer": (
        "{0} was made anew since: what is shown is of the former one.",
        "{0} はこの索引のあとで作り直されました。示しているのは前のものです。",
    ),
    "error": ("This cannot be answered", "答えられません"),
    "skip": ("Skip to the result", "結果へ進む"),
    "token": ("Access token", "アクセストークン"),
    "enter": ("Enter", "入る"),
    "about": (
        "{0} documents were read: kept, held out, dropped and unreadable. All are searched.",
        "読んだ文書は {0} 件です。"
        "残したもの、取り置いたもの、落としたもの、読めなかったもののすべてを探します。",
    ),
}


def say(language: str, key: str, *values: object) -> str:
    """A word or sentence; a key that is none (a rule, a source) says itself."""
    both = _WORDS.get(key)
    if both is None:
        return key
    shown = [f"{value:,}" if isinstance(value, int) else str(value) for value in values]
    return both[language == "ja"].format(*shown)


def choose(asked: str, accepted: str) -> str:
    """``asked`` if it is one of ours, else the first of an Accept-Language header that is."""
    if asked in LANGUAGES:
        return asked
    for part in accepted.split(",")[:20]:
        word = part.partition(";")[0].strip().lower().partition("-")[0]
        if word in LANGUAGES:
            return word
    return "en"
