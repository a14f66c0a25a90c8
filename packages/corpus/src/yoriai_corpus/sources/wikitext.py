"""Wikitext, the markup of Wikipedia, to plain text.

What nests (templates, tables, links) is taken apart by one pass over its brackets with a stack
of our own, so no page is too deep, and a bracket without its partner costs nothing but itself.
The rest are passes of regular expressions, each linear in the page.

Headings, paragraphs and list items stay as lines; links leave their label, the few templates
that carry running text (:data:`_SHOWN`) that text. Other templates, tables, references,
formulae, files and categories are dropped, and headings with nothing left under them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from itertools import pairwise

from yoriai_corpus.sources.wiki_templates import RENDERED, function

MAX_DEPTH = 40  # brackets within brackets; MediaWiki's $wgMaxTemplateDepth was 40 for long

FILE_NAMESPACES = frozenset(
    (
        "file", "image", "media", "ファイル", "画像", "メディア", "datei", "bild", "fichier",
        "archivo", "imagen", "файл", "文件", "파일",
    )
)  # fmt: skip
CATEGORY_NAMESPACES = frozenset(
    ("category", "カテゴリ", "kategorie", "catégorie", "categoría", "категория", "分类", "분류")
)

# Templates that carry running text -> which argument it is, counted from 1; 0: the last.
_SHOWN: dict[str, int] = {
    "lang": 2, "transl": 0, "ruby": 1, "読み仮名": 1, "読み仮名 ruby不使用": 1, "ふりがな": 1,
    "仮リンク": 1, "ill": 1, "ill2": 1, "link-en": 1, "日本語版にない記事リンク": 1,
    "nowrap": 1, "small": 1, "smaller": 1, "big": 1, "larger": 1, "unicode": 1, "ipa": 1,
    "jis2004フォント": 1, "補助漢字フォント": 1, "cp932フォント": 1, "拡張漢字": 1,
    "vanc": 1, "vanchor": 1, "visible anchor": 1, "quote": 1, "quotation": 1, "cquote": 1,
    "blockquote": 1, "bquote": 1, "color": 2, "colors": 3, "font color": 2, "fontsize": 2,
    "underline": 1, "下線": 1, "太字": 1, "strong": 1, "em": 1, "code": 1, "mono": 1, "sup": 1,
    "sub": 1, "要出典範囲": 1, "要検証範囲": 1, "abbr": 1, "tooltip": 1, "linktext": 1, "kbd": 1,
    "snamei": 1, "uc": 1, "lc": 1, "nihongo": 1, "en": 1, "ja": 1, "de": 1, "fr": 1, "zh": 1,
    "la": 1, "it": 1, "es": 1, "ru": 1, "ko": 1,
}  # fmt: skip
_FIRST_UNNAMED = {"quote": "text", "仮リンク": "label", "blockquote": "text"}
_SYMBOLS = {
    "!": "|", "=": "=", "・": "・", "·": "·", "•": "•", "–": "–", "—": "—", "ndash": "–",
    "mdash": "—", "'": "'", "(": "{", ")": "}", "((": "{{", "))": "}}", "spaces": " ", "snd": " – ",
    "nbsp": " ", "pipe": "|", "年": "年", "!-": "|-",
}  # fmt: skip

# A table written with {{!}}, as inside the arguments of templates: {{{!}} begins, {{!}}} ends it.
_TABLE_MARKS = re.compile(r"^[ \t:*#]{0,9}\{\{\{!\}\}|^[ \t]{0,9}\{\{!\}\}.*", re.M)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_ELEMENT = re.compile(
    r"<(/?)(nowiki|pre|syntaxhighlight|source|ref|references|math|chem|ce|gallery|timeline|score"
    r"|imagemap|hiero|graph|mapframe|maplink|templatedata|templatestyles|inputbox|poem|code)"
    r"\b([^<>]*)>",
    re.I,
)
_LITERAL = frozenset(("nowiki", "pre", "syntaxhighlight", "source"))
_TRANSPARENT = frozenset(("poem", "code"))
_PARAMETER = re.compile(r"\{\{\{[^{}]{0,500}\}\}\}")
_BRACKET = re.compile(r"\{\{|\}\}|\[\[|\]\]|^[ \t]{0,9}\|\}(?!\})|\||^[ \t:*#]{0,9}\{\|", re.M)
_EXTERNAL = re.compile(r"\[(?:https?:|ftps?:|mailto:)?//?[^\s\[\]<>]{1,2000}[ \t]*([^\[\]\n]*)\]")
_QUOTES = re.compile(r"'{2,5}")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_BREAK = re.compile(r"<(?:br|hr|/?(?:p|div|li|tr|blockquote))\b[^<>]*>", re.I)
_MAGIC = re.compile(
    r"__(?:[A-Z]{3,30}|目次|目次非表示|目次強制|カテゴリ非表示|隠しカテゴリ|節編集非表示)__"
)
_LEFT_OVER = re.compile(r"^[ \t]*(?:\||!|\{\||\}\}|----)")
_LIST = re.compile(r"^[*#:;]+[ \t]*")
_EMPTY_PARENTHESES = re.compile(r"[（(][\s、,，;；:：/・]*[）)]")
_OPENED = re.compile(r"([（(])[\s、,，;；]+")
_CLOSED = re.compile(r"[\s、,，;；]{1,9}([）)])")
_INTERWIKI = re.compile(r"[a-z]{2,3}(?:-[a-z-]{2,10})?|simple")


class _Frame:
    """A bracket that is open: its text so far, and where arguments begin in it."""

    __slots__ = ("bars", "opening", "pieces")

    def __init__(self, opening: str) -> None:
        self.opening = opening
        self.pieces: list[str] = []
        self.bars: list[int] = []  # indices in pieces


def plain_text(wikitext: str, *, title: str = "", files: Collection[str] = FILE_NAMESPACES,
               categories: Collection[str] = CATEGORY_NAMESPACES) -> str:  # fmt: skip
    """The text of a page. ``files`` and ``categories`` are names of namespaces, in lower case."""
    text = wikitext.replace("\x00", "").replace("\x01", "")
    text = _COMMENT.sub("", text)
    text, literals = _without_elements(text)
    text = _TABLE_MARKS.sub(lambda mark: mark[0].replace("{{!}}", "|"), text)
    text = _PARAMETER.sub("", text)
    text = _without_brackets(text, title, frozenset(files), frozenset(categories))
    text = _BREAK.sub("\n", _EXTERNAL.sub(r"\1", text))
    text = _MAGIC.sub("", _QUOTES.sub("", _TAG.sub("", text)))
    text = html.unescape(text).replace("\xa0", " ")
    text = _EMPTY_PARENTHESES.sub("", _CLOSED.sub(r"\1", _OPENED.sub(r"\1", text)))
    text = _lines(text)
    return re.sub(r"\x00(\d+)\x01", lambda m: literals[int(m[1])], text)


def _without_elements(text: str) -> tuple[str, list[str]]:
    """Drops references, formulae and the like; literal text is put aside under a number.

    An element that is not closed loses its tag only, as nobody meant the rest of the page.
    """
    pieces: list[str] = []
    literals: list[str] = []
    done = 0
    tokens = list(_ELEMENT.finditer(text))
    # For each tag, the next end tag of its name, found from behind in one pass.
    closers: dict[str, int] = {}
    ends = [-1] * len(tokens)
    for index in range(len(tokens) - 1, -1, -1):
        name = tokens[index][2].lower()
        ends[index] = closers.get(name, -1)
        if tokens[index][1]:
            closers[name] = index
    for index, token in enumerate(tokens):
        if token.start() < done:
            continue
        name = token[2].lower()
        pieces.append(text[done : token.start()])
        done = token.end()
        if token[1] or token[3].endswith("/") or name in _TRANSPARENT or ends[index] < 0:
            continue
        closer = tokens[ends[index]]
        if name in _LITERAL:
            pieces.append(f"\x00{len(literals)}\x01")
            literals.append(html.unescape(text[done : closer.start()]).strip("\n"))
        done = closer.end()
    return "".join([*pieces, text[done:]]), literals


def _without_brackets(
    text: str, title: str, files: frozenset[str], categories: frozenset[str]
) -> str:
    stack = [_Frame("")]
    done = 0
    too_deep = 0  # brackets that are open beyond the deepest frame
    for token in _BRACKET.finditer(text):
        mark = token[0].strip(" \t:*#")
        top = stack[-1]
        if not too_deep:
            top.pieces.append(text[done : token.start()])
        done = token.end()
        if mark in ("{{", "[[", "{|"):
            if len(stack) > MAX_DEPTH:
                too_deep += 1
            else:
                stack.append(_Frame(mark))
        elif too_deep:
            too_deep -= mark != "|"
        elif mark == "|":
            top.bars.append(len(top.pieces))
            if not top.opening:
                top.pieces.append("|")
        else:
            _close(stack, mark, title, files, categories)
    if not too_deep:
        stack[-1].pieces.append(text[done:])
    while len(stack) > 1:
        _give_up(stack)
    return "".join(stack[0].pieces)


_PARTNERS = {"}}": "{{", "]]": "[[", "|}": "{|"}


def _close(
    stack: list[_Frame], mark: str, title: str, files: frozenset[str], categories: frozenset[str]
) -> None:
    """An end: of the innermost frame it fits. A link is not closed over an open template."""
    wanted = _PARTNERS[mark]
    index = len(stack) - 1
    while index and stack[index].opening != wanted:
        if mark == "]]":
            index = 0
            break
        index -= 1
    if not index:
        return
    while len(stack) - 1 > index:
        _give_up(stack)
    frame = stack.pop()
    if wanted == "[[":
        shown = _link(_arguments(frame), files, categories)
    elif wanted == "{{":
        shown = _template(_arguments(frame), title)
    else:
        shown = ""
    stack[-1].pieces.append(shown)


def _give_up(stack: list[_Frame]) -> None:
    """A bracket that is never closed: its text belongs to what is around it, without the mark."""
    frame = stack.pop()
    if frame.opening != "{|":
        stack[-1].pieces.append("|".join(_arguments(frame)))
    else:
        # An open table ends with the page; text after an empty line was not meant to be in it.
        stack[-1].pieces.append("\n" + "|".join(_arguments(frame)))


def _arguments(frame: _Frame) -> list[str]:
    edges = [0, *frame.bars, len(frame.pieces)]
    return ["".join(frame.pieces[a:b]) for a, b in pairwise(edges)]


def _link(arguments: list[str], files: frozenset[str], categories: frozenset[str]) -> str:
    target = arguments[0].strip()
    if "\n" in target:
        return "|".join(arguments)
    prefix = target.partition(":")[0].strip().lower() if ":" in target else ""
    if prefix in files or prefix in categories:
        return ""
    if len(arguments) > 1:
        return arguments[-1].strip() or target
    if prefix and _INTERWIKI.fullmatch(prefix) and target[: len(prefix)].islower():
        return ""  # the same page in another language
    return target.removeprefix(":")


def _template(arguments: list[str], title: str) -> str:
    name = arguments[0].strip().replace("_", " ")
    lower = name.lower()
    if len(arguments) == 1 and lower in ("pagename", "subpagename", "fullpagename", "basepagename"):
        return title
    if lower in _SYMBOLS:
        return _SYMBOLS[lower]
    if (shown := function(name)) is not None:
        return shown
    render = RENDERED.get(lower)
    which = 1 if lower.startswith("lang-") else _SHOWN.get(lower)
    unnamed: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments[1:]:
        key, equals, value = argument.partition("=")
        if equals and re.fullmatch(r"\s*[\w-]{1,20}\s*", key):
            named[key.strip()] = value.strip()
        else:
            unnamed.append(argument.strip())
    if render is not None:
        return render(unnamed, named)
    if which is None:
        return ""
    label = named.get(_FIRST_UNNAMED.get(lower, ""), "")
    if label:
        return label
    if which == 0:
        return unnamed[-1] if unnamed else named.get("2", named.get("1", ""))
    if len(unnamed) >= which:
        return unnamed[which - 1]
    return named.get(str(which), "")


def _lines(text: str) -> str:
    """Lines without marks of lists and headings, and no heading over nothing."""
    lines: list[str] = []
    waiting: list[tuple[int, str]] = []  # headings under which nothing has come yet
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("=") and line.endswith("=") and (name := line.strip("= \t")):
            left, right = len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("="))
            level = min(left, right)
            while waiting and waiting[-1][0] >= level:
                waiting.pop()
            waiting.append((level, name))
            continue
        if _LEFT_OVER.match(line):
            continue
        line = _LIST.sub("", line).strip() if line[:1] in ("*", "#", ":", ";") else line
        if line:
            for _, name in waiting:
                lines += ["", name, ""]
            waiting = []
        lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
