"""Questions with an answer and questions without one, side by side: does a model make one up?

Nothing here can be known from training: villages, people and countries are invented. The pairs of
``eval/answerable`` follow SQuAD 2.0 (Rajpurkar, Jia and Liang 2018, arXiv 1806.03822), where a
passage does not hold the answer; those of ``eval/invented`` ask for what does not exist.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Asking, Prompt, Sample, Task
from yoriai_eval.scoring.abstention import manner
from yoriai_eval.tasks import invention

UNKNOWN = "分からない"
LONGEST = 32  # characters of an answer: a copied passage holds every answer
PROMPT = Prompt(
    header="{instruction}", shot="\n\n{input}\n答え：{output}", query="\n\n{input}\n答え："
)
_REAL = re.compile(r"\d+")


class Knowable(Task):
    """Half of the samples have an answer; the right reply to the others is that there is none.

    ``accuracy`` counts right answers and right abstentions alike; scores by group tell them apart.
    ``abstained`` is the share of replies that say they do not know or will not say, in any words
    that :mod:`yoriai_eval.scoring.abstention` knows; ``made_up`` the share that gives an answer
    which is not right.
    """

    form: ClassVar[Literal["generation"]] = "generation"
    version: ClassVar[str] = "1"
    instruction: ClassVar[str]
    seed: int = Field(0, ge=0, description="another seed invents other things")
    examples: int = Field(4, ge=0, le=8, description="shown before each question, half without one")
    chat: bool = Field(False, description="ask in the model's chat template, without examples")

    def askings(self) -> Sequence[Asking]:
        metrics = ("accuracy", "abstained", "made_up")
        if self.chat:
            return [Asking(form="generation", metrics=metrics, max_characters=LONGEST)]
        return [
            Asking(
                form="generation",
                metrics=metrics,
                prompt=PROMPT,
                instruction=self.instruction,
                shots=self.examples,
                stops=("\n",),
                max_characters=LONGEST,
            )
        ]

    def score(self, sample: Sample, output: str) -> float:
        return self.scores(sample, output)["accuracy"]

    def scores(self, sample: Sample, output: str) -> dict[str, float]:
        said = _first_line(output)
        none, answer = bool(manner(said)), str(sample.answer)
        right = none if answer == UNKNOWN else not none and _holds(said, answer)
        made_up = bool(said) and not none and not right
        return {"accuracy": float(right), "abstained": float(none), "made_up": float(made_up)}


def _first_line(output: str) -> str:
    return unicodedata.normalize("NFKC", output).strip().partition("\n")[0].strip()


def _holds(said: str, answer: str) -> bool:
    """Whether an answer of a line says what is right; numbers whole, with or without the unit."""
    if number := _REAL.match(answer):
        return number[0] in _REAL.findall(said.replace(",", ""))
    if answer.isascii():  # "C" is no part of "Cu"
        return bool(re.search(rf"(?<![A-Za-z]){re.escape(answer)}(?![A-Za-z])", said))
    return answer in said


class Answerable(Knowable):
    """A passage on an invented village, one question that it answers and one that it does not.

    The second asks for what the passage leaves out (``absent``) or for another village
    (``other``), in turns. Both questions and the passage are one cluster.
    """

    instruction: ClassVar[str] = (
        "文章だけをもとに、質問に短く答えてください。"
        f"文章から分からないときは「{UNKNOWN}」と答えてください。"
    )
    pairs: int = Field(100, ge=1, description="passages, each with two questions")

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        for number in range(self.pairs):
            yield from self._pair("pair", number)

    def shots(self, count: int) -> list[Sample]:
        """Samples of passages that are not asked: one with an answer and one without in turns."""
        return [self._pair("shot", number)[number % 2] for number in range(count)]

    def _pair(self, what: str, number: int) -> tuple[Sample, Sample]:
        draw = invention.drawn(self.seed, what, number)
        place = invention.name(draw)
        keys = draw.sample(list(invention.FACTS), 4)
        told = {key: invention.FACTS[key][2](draw) for key in keys[:3]}
        said = "".join(invention.FACTS[k][0].format(value=v) for k, v in told.items())
        passage = f"文章：{place}村は山あいの小さな村です。{said}"
        asked = draw.choice(keys[:3])
        if number // 2 % 2:
            kind, other, key = "other", invention.name(draw), asked
        else:
            kind, other, key = "absent", place, keys[3]
        questions = (
            ("answered", place, asked, told[asked]), (kind, other, key, UNKNOWN),
        )  # fmt: skip
        first, second = (
            Sample(
                id=f"{what}/{number}/{group}",
                text=f"{passage}\n質問：{invention.FACTS[k][1].format(place=name)}",
                instruction=self.instruction,
                answer=answer,
                group=group,
                cluster=f"{what}/{number}",
            )
            for group, name, k, answer in questions
        )
        return first, second


# What most people know, by form of question: what is asked of it, and the answer.
KNOWN: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("{}の首都はどこですか。", "{}共和国", (
        ("フランス", "パリ"), ("イタリア", "ローマ"), ("ドイツ", "ベルリン"),
        ("スペイン", "マドリード"),
        ("韓国", "ソウル"), ("中国", "北京"), ("イギリス", "ロンドン"), ("ロシア", "モスクワ"),
        ("エジプト", "カイロ"), ("タイ", "バンコク"),
    )),
    ("{}の県庁所在地はどこですか。", "{}県", (
        ("愛知県", "名古屋"), ("石川県", "金沢"), ("兵庫県", "神戸"), ("宮城県", "仙台"),
        ("神奈川県", "横浜"), ("香川県", "高松"), ("島根県", "松江"), ("沖縄県", "那覇"),
        ("愛媛県", "松山"), ("群馬県", "前橋"),
    )),
    ("小説『{}』を書いたのは誰ですか。", "{}の夜", (
        ("吾輩は猫である", "夏目漱石"), ("走れメロス", "太宰治"), ("羅生門", "芥川龍之介"),
        ("雪国", "川端康成"), ("銀河鉄道の夜", "宮沢賢治"), ("伊豆の踊子", "川端康成"),
        ("金閣寺", "三島由紀夫"), ("こころ", "夏目漱石"), ("人間失格", "太宰治"),
        ("坊っちゃん", "夏目漱石"),
    )),
    ("元素{}の元素記号は何ですか。", "{}ニウム", (
        ("鉄", "Fe"), ("金", "Au"), ("銀", "Ag"), ("銅", "Cu"), ("酸素", "O"), ("水素", "H"),
        ("炭素", "C"), ("窒素", "N"), ("鉛", "Pb"), ("ナトリウム", "Na"),
    )),
)  # fmt: skip
ASKED = 8  # of each form; the last two are shown as examples


class Invented(Knowable):
    """What most people know, beside the same question on something invented: 64 samples.

    A model that abstains from everything has half of them right, so look at both groups,
    ``known`` and ``invented``.
    """

    instruction: ClassVar[str] = (
        f"質問に短く答えてください。知らないこと、存在しないことについては「{UNKNOWN}」と答えてください。"
    )

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        for form in range(len(KNOWN)):
            for number in range(ASKED):
                yield from self._pair(form, number)

    def shots(self, count: int) -> list[Sample]:
        """Known and invented in turns, of each form of question."""
        forms = len(KNOWN)
        return [self._pair(n % forms, ASKED + n // forms % 2)[n % 2] for n in range(count)]

    def _pair(self, form: int, number: int) -> tuple[Sample, Sample]:
        question, wrapped, known = KNOWN[form]
        thing, answer = known[number]
        name = wrapped.format(invention.name(invention.drawn(self.seed, "invented", form, number)))
        first, second = (
            Sample(
                id=f"{form}/{number}/{group}",
                text=f"質問：{question.format(what)}",
                instruction=self.instruction,
                answer=right,
                group=group,
                cluster=f"{form}/{number}",
            )
            for group, what, right in (("known", thing, answer), ("invented", name, UNKNOWN))
        )
        return first, second
