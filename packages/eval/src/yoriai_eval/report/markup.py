"""Text as markup: nothing that a model wrote, or was called, can become part of a page.

Pages are put together with :func:`fill` and :func:`joined`: a value that is no
:class:`markupsafe.Markup` becomes text by itself.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

from markupsafe import Markup

from yoriai_eval.report.model import Value

NOTHING = "–"  # where there is no number
MOST_CHARACTERS = 2000  # of one output that a page shows
# What has no shape of its own or moves its neighbours: controls but for tab and newline, soft
# hyphen, marks of direction, zero width, line separators, tags, halves of surrogate pairs.
# Joiners and variation selectors stay: emoji and kanji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e00ff\ud800-\udfff]"
)
# A path that begins at the root, on its own or behind a scheme for files.
_PATH = re.compile(r"(?<![\w./:~-])(?:file://)?(?:/[^\s/'\"<>]+){2,}|\b[A-Za-z]:\\[^\s'\"<>]+")


def visible(text: str) -> str:
    """The text with what cannot be seen spelled out, as in ``⟦U+202E⟧``."""
    return _UNSEEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text)


NO_MARKUP = Markup("")


def fill(template: str, *values: Any) -> Markup:
    """Markup of our own with values in its places ``{}``, each as text unless it is markup."""
    shown = (v if isinstance(v, Markup) else visible(str(v)) for v in values)
    return Markup(template).format(*shown)


def joined(parts: Iterable[Markup], between: str = "") -> Markup:
    """Pieces of markup one after the other, with text between them."""
    return Markup.escape(between).join(parts)


def text_cut(value: Any, most: int = MOST_CHARACTERS) -> Markup:
    """A value as text, cut where it is long, and then the length is said."""
    text = str(value)
    if len(text) <= most:
        return fill("{}", text)
    told = f"… 全 {len(text):,} 文字 · {len(text):,} characters in all"
    return fill("{}<small> {}</small>", text[:most], told)


def without_paths(text: str) -> str:
    """The text with absolute paths cut down to their last part."""
    return _PATH.sub(lambda found: "…/" + re.split(r"[/\\]", found[0])[-1], text)


def number(value: float, unit: str) -> str:
    """A share in percent, correlations and bits as they are."""
    if unit == "share":
        return f"{100 * value:.1f}"
    return f"{value:.3f}"


def span(value: Value, unit: str) -> str:
    """The interval of a value."""
    if value.low is None or value.high is None:
        return NOTHING
    # A dash between negative numbers is not to be read.
    dash = " to " if unit == "number" else "–"
    return f"{number(value.low, unit)}{dash}{number(value.high, unit)}"


@cache
def asset(name: str) -> str:
    """A style sheet or script of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def page(title: str, lang: str, body: Markup, *, script: str = "", head: Markup = NO_MARKUP) -> str:
    """A whole page. Its policy lets nothing be fetched, and runs no script but this very one."""
    scripts = "'none'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        scripts = f"'sha256-{digest}'"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}; "
        "base-uri 'none'; form-action 'none'"
    )
    code = fill("<script>{}</script>", Markup(script)) if script else NO_MARKUP
    return str(
        fill(
            '<!doctype html><html lang="{}"><head><meta charset="utf-8">'
            '<meta http-equiv="Content-Security-Policy" content="{}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<title>{}</title>{}<style>{}</style></head><body>\n{}\n{}</body></html>\n",
            lang,
            Markup(policy),
            title,
            head,
            Markup(asset("style.css")),
            body,
            code,
        )
    )
