"""Parts of a page as data: text, tables, figures. Plugins write these, and never markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of equal length under ``columns``. A column that holds only numbers is set to the right.

    Cells are shown as text. A column whose heading is empty has none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure as data. ``series`` maps a name to its (x, y) points; bars use x as labels."""

    kind: Literal["line", "bar"]
    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[Any, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a page. ``text`` is plain text; an empty line starts a new paragraph."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    quote: str = ""
