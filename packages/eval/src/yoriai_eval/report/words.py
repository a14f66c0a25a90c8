"""What the pages say, in Japanese and in English."""

from __future__ import annotations

from typing import Literal

from yoriai_eval.report.model import Board, Difference

Language = Literal["ja", "en"]
PAGES: dict[Language, str] = {"ja": "index.html", "en": "en.html"}
_AT: dict[Language, int] = {"ja": 0, "en": 1}

WORDS: dict[str, tuple[str, str]] = {
    "title": ("評価の一覧", "Leaderboard"),
    "other_language": ("English", "日本語"),
    "model": ("モデル", "model"),
    "average": ("平均", "average"),
    "floor": ("床", "floor"),
    "at_floor": ("床止まり", "at floor"),
    "best_floor": ("最良の床", "best floor"),
    "place": ("位", "rank"),
    "samples": ("問", "samples"),
    "shots": ("例", "shots"),
    "split": ("分割", "split"),
    "find_model": ("モデルを探す", "find a model"),
    "hide_floor": ("床に届く点数を隠す", "hide scores that reach their floor"),
    "radar": ("分野", "Categories"),
    "tasks": ("課題ごと", "Task by task"),
    "texts": ("文章 1 バイトあたりのビット数(小さいほどよい)",
              "Bits per byte of held-out text (lower is better)"),
    "reasons": ("回答の内訳", "What became of the answers"),
    "groups": ("群ごとの点数", "Scores by group"),
    "metrics": ("ほかの指標", "Other metrics"),
    "fewer_shots": ("文脈長に入らず例を減らした問", "Samples asked with fewer shots, to fit"),
    "overlap": ("訓練データとの重なり", "Contamination"),
    "overlap_text": (
        "モデルが訓練で見たかもしれない文章に見つかった問と、見つからない問の点数を並べます。",
        "Scores on samples that were found nowhere a model may have seen them (clean), and on "
        "those that were (dirty), side by side.",
    ),
    "halves_text": (
        "点数(95 % 信頼区間; 問数)。差は、見つかった問から見つからない問を引いたものです。",
        "Score (95 % interval; samples). The difference is dirty less clean.",
    ),
    "swapped": ("前提と仮説が入れ替わったもの", "premise and hypothesis exchanged"),
    "few": ("10 問未満", "fewer than 10"),
    "searched": ("探した先", "Looked for in"),
    "between": ("ほかの分割に", "in other splits"),
    "too_short": ("短くて探せず", "too short"),
    "is_dirty": ("見つかった", "dirty"),
    "clean": ("見つからない問", "clean"),
    "dirty": ("見つかった問", "dirty"),
    "exact": ("完全一致", "exact"),
    "near": ("近似一致", "near"),
    "all": ("全体", "all"),
    "difference": ("差", "difference"),
    "asked_with": ("モデルの動かし方", "How the models were run"),
    "artifact": ("成果物", "artifact"),
    "read": ("読み方", "How to read this"),
    "task": ("課題", "task"),
    "group": ("群", "group"),
    "answers": ("回答", "Answers"),
    "by_pairs": (
        "順位は同じ問での対の検定(Holm 補正、5 %)による",
        "ranks by paired tests on the same samples (Holm, 5 %)",
    ),
    "by_intervals": ("順位は区間の重なりによる", "ranks by whether intervals overlap"),
    "no_plots": (
        "図はありません(matplotlib が入っていない環境で作られました)。数値は表にあります。",
        "There are no pictures: matplotlib was not installed. The tables hold the numbers.",
    ),
    "sure": ("確信度と較正", "Confidence and calibration"),
    "sure_text": (
        "確信度は、選択肢の中での最尤の選択肢(尤度の和による)の確率です。"
        "較正されたモデルでは、確信度と正答の割合が等しくなります。"
        "ECE は両者の隔たりの平均で、括弧は、較正されたモデルの 95 % がその下に収まる値です。"
        "補正済みは、隔たりの二乗平均の根から、ビンごとの偶然の分を除いたものです。"
        "Brier は最尤の選択肢の二乗誤差です。AURC は、確信の高い順に答えたときの誤答率の平均で、"
        "括弧は 95 % 区間と、確信度が何も語らないときの値です。"
        "温度は dev の行か、同じ行のもう半分に合わせました。右端はその後の ECE です。"
        "1 より大きい温度は自信過剰を表します。(−n) は問えなかった数です。"
        "選択肢の外にある確率や、書かれた回答の確信については何も言えません。",
        "Confidence is the probability, among the choices alone, of the likeliest one (by summed "
        "likelihood). A calibrated model is right as often as it says. ECE is the mean distance of "
        "the two, in brackets the value under which 95 % of calibrated models stay; debiased: the "
        "root mean square of it without what chance adds to each bin. Brier: squared error of the "
        "likeliest choice. AURC: the mean share of wrong answers when the surest are given first "
        "(95 % interval; what a confidence that says nothing has). The temperature is fitted on "
        "dev rows, or on the other half of the same ones; ECE after it stands last. Above 1 the "
        "model is too sure. (−n): could not be asked. Nothing is said of what lies outside the "
        "choices, nor of how sure a written answer is.",
    ),
    "right": ("正答 %", "right %"),
    "confidence": ("確信度 %", "confidence %"),
    "ece": ("ECE", "ECE"),
    "debiased": ("補正済み", "debiased"),
    "brier": ("Brier", "Brier"),
    "aurc": ("AURC", "AURC"),
    "temperature": ("温度", "temperature"),
    "ece_after": ("温度後の ECE", "ECE after"),
    "on_dev": ("dev", "dev"),
    "on_halves": ("半分ずつ", "halves"),
    "written": ("書かれた回答の種類", "What written answers are"),
    "written_text": (
        "「分からない」と言う回答(棄権)と、答えることを断る回答(拒絶)は、誤答と分けて数えます。"
        "言い回しの表で見分けるので、表にない言い方は誤答に入ります。点数は変わりません。",
        "Answers that say they do not know (abstained) or will not say (declined) are counted "
        "apart from wrong ones. They are told by a list of phrases, so others count as wrong. "
        "Scores do not change.",
    ),
    "kind right": ("正答", "right"),
    "kind wrong": ("誤答", "wrong"),
    "kind abstained": ("棄権", "abstained"),
    "kind declined": ("拒絶", "declined"),
    "kind refused": ("サーバの拒否", "refused by the server"),
    "kind no answer": ("答えなし", "no answer"),
    "kind errored": ("エラー", "errored"),
    "correct": ("正答", "correct"),
    "wrong": ("誤答", "wrong"),
    "unparsed": ("読み取れず", "unparsed"),
    "truncated": ("途中で切れた", "truncated"),
    "refused": ("拒否", "refused"),
    "errored": ("エラー", "errored"),
}  # fmt: skip
READ: tuple[tuple[str, str], ...] = (
    (
        "点数の下は 95 % 信頼区間と、モデルなしで得られる最良の点数(床)です。"
        "区間が床に届く点数は、モデルの力を示していないので、灰色にして「床止まり」と書きます。",
        "Below each score stand its 95 % interval and the best score that needs no model (the "
        "floor). A score whose interval reaches its floor shows nothing of the model: it is grey "
        "and marked as at its floor.",
    ),
    (
        "順位は範囲です。差があると言えないモデルは順位を分け合い、並びはその中では名前順です。",
        "Ranks are ranges: models that are not separated share them, and stand in order of name.",
    ),
    (
        "プロトコル、分割、問数、例の数などが違う点数は、同じ表に入れません。"
        "点数を押すと一問ずつの回答が出ます。",
        "Scores that were asked otherwise (protocol, split, limit, shots, data) never share a "
        "table. Each score leads to its single answers.",
    ),
)
_WHAT: dict[str, tuple[str, str]] = {
    "protocol": ("プロトコル", "protocol"),
    "split": ("分割", "split"),
    "limit": ("問数の上限", "limit"),
    "shots": ("例の数", "number of shots"),
    "metric": ("指標", "metric"),
    "samples": ("問数", "number of samples"),
    "data": ("データ", "version of the data"),
    "options": ("課題の設定", "setting of the task"),
    "floors": ("床", "floor"),
    "prompts": ("プロンプト", "set of prompts"),
}


def say(key: str, language: Language) -> str:
    """A word or sentence in one language."""
    return WORDS[key][_AT[language]]


def reading(language: Language) -> list[str]:
    """How to read the page."""
    return [pair[_AT[language]] for pair in READ]


def heading(board: Board, language: Language) -> str:
    """What everything in a table has in common."""
    shots = sorted({c.shots for c in board.tasks if c.shots is not None})
    count = "–".join(str(n) for n in dict.fromkeys((shots[0], shots[-1]))) if shots else "0"
    if language == "ja":
        limit = f"各課題の先頭 {board.limit:,} 問" if board.limit else "全問"
        asked = f"、例 {count} 個" if board.tasks else ""
        return f"表 {board.number}: プロトコル {board.protocol}、分割 {board.split}、{limit}{asked}"
    limit = f"the first {board.limit:,} samples of each task" if board.limit else "all samples"
    asked = f", {count} shots" if board.tasks else ""
    return f"Table {board.number}: protocol {board.protocol}, split {board.split}, {limit}{asked}"


def why(difference: Difference, language: Language) -> str:
    """Why a table is not one with another."""
    what = _WHAT[difference.what][_AT[language]]
    here, there = difference.here, difference.there
    if difference.what == "limit":
        none = ("なし", "none")[_AT[language]]
        here, there = (none if value == "0" else value for value in (here, there))
    told = here or there
    if language == "ja":
        place = f"{difference.task} の" if difference.task else ""
        values = f"(この表は {here}、あちらは {there})" if told else ""
        return (
            f"表 {difference.other} と分けたのは、{place}{what}が違う{values}からです。"
            "違う条件の点数は比べられません。"
        )
    place = f" of {difference.task}" if difference.task else ""
    values = f" (here {here}, there {there})" if told else ""
    return (
        f"Apart from table {difference.other}, as it has another {what}{place}{values}: scores "
        "that were asked otherwise cannot be compared."
    )
