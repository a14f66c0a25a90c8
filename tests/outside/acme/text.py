"""Text: a source, a filter and an engine."""

from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from pydantic import Field

from yoriai import Document, Engine, Filter, Source, SourceCard, Verdict


class Sayings(Source):
    """Made-up sentences in two partitions; every tenth is a table."""

    version: ClassVar[str] = "1"
    count: int = Field(200, ge=0, description="how many")

    def card(self):
        return SourceCard(name="sayings", licence="CC0-1.0", languages=("en",))

    def partitions(self):
        return ["even", "odd"]

    def read(self, partition):
        for number in range(partition == "odd", self.count, 2):
            text = f"Saying {number}: what is said {number * 7} times is heard {number * 3} times. "
            if number % 10 == 0:
                text = f"| {number} | {number} |"
            yield Document("sayings", str(number), text * 3, language="en", licence="CC0-1.0")


class NoTables(Filter):
    """Drops text with a bar."""

    version: ClassVar[str] = "1"

    def judge(self, document):
        bars = document.text.count("|")
        return Verdict("drop", value=bars, threshold=0) if bars else self.KEEP


class Threads(Engine):
    """Tasks in threads of this process."""

    version: ClassVar[str] = "1"

    def open(self):
        return ThreadPoolExecutor(2)
