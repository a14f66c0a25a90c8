"""Wikitext, the markup of Wikipedia, to plain text.

What nests (templates, tables, links) is taken apart by one pass over its brackets with a stack
of our own, so no page is too deep, and a bracket without its partner costs nothing but itself.
The rest are passes of regular expressions, each linear in the page.

Headings, paragraphs and list items stay as lines; links leave their label, the few templates
that carry running text (:data:`_SHOWN`) that text. Formulae stay as the TeX they are written in:
``<math>`` as ``$…$`` (``$$…$$`` with ``display="block"``), ``<chem>`` and ``<ce>`` as
``$\\ce{…}$``, with spaces and line ends as one space. Other templates, tables, references, files
and categories are dropped, and headings with nothing left under them.
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

# Templates in sentences that are no part of them: notes, references, marks of editors.
_EDITORIAL = frozenset(
    """r/rp/ref/refn/refnest/notetag/note/cite/citation/citation needed/cn/fact/when/who/which/where
/why/whom/by whom/according to whom/clarify/clarification needed/dead link/webarchive
/verify source/better source/better source needed/page needed/failed verification/dubious
/update inline/full citation needed/clear/-/anchor/anchors/coord/要出典/要検証/要説明/要追加記述
/要ページ番号/信頼性要検証/いつ/いつ範囲/誰/誰範囲/誰2/どこ/なぜ/要高次出典/リンク切れ/未検証/独自研究
/独自研究範囲/要曖昧さ回避/特殊文字/flagicon/nowrap begin/nowrap end/0
/要校閲/疑問点/疑問点範囲/出典無効/脚注/脚注ヘルプ/ウィキ座標/補注/注釈""".replace("\n", "").split(
        "/"
    )
)

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
_FORMULAE = {"math": "", "chem": "\\ce", "ce": "\\ce"}
_BLOCK = re.compile(r"""\bdisplay\s*=\s*["']?block""", re.I)
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
               categories: Collection[str] = CATEGORY_NAMESPACES,
               left_out: list[str] | None = None) -> str:  # fmt: skip
    """The text of a page. ``files`` and ``categories`` are names of namespaces, in lower case.

    ``left_out`` gets the name of each template that stood in a line of text and was dropped, but
    for notes, references and marks of editors (:data:`_EDITORIAL`).
    """
    text = wikitext.replace("\x00", "").replace("\x01", "")
    text = _COMMENT.sub("", text)
    text, literals = _without_elements(text)
    text = _TABLE_MARKS.sub(lambda mark: mark[0].replace("{{!}}", "|"), text)
    text = _PARAMETER.sub("", text)
    dropped = [] if left_out is None else left_out
    text = _without_brackets(text, title, frozenset(files), frozenset(categories), dropped)
    text = _BREAK.sub("\n", _EXTERNAL.sub(r"\1", text))
    text = _MAGIC.sub("", _QUOTES.sub("", _TAG.sub("", text)))
    text = html.unescape(text).replace("\xa0", " ")
    text = _EMPTY_PARENTHESES.sub("", _CLOSED.sub(r"\1", _OPENED.sub(r"\1", text)))
    text = _lines(text)
    return re.sub(r"\x00(\d+)\x01", lambda m: literals[int(m[1])], text)


def _without_elements(text: str) -> tuple[str, list[str]]:
    """Drops references and the like; literal text and formulae are put aside under a number.

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
        elif name in _FORMULAE and (tex := " ".join(text[done : closer.start()].split())):
            command = _FORMULAE[name]
            tex = f"{command}{{{tex}}}" if command else tex
            marks = "$$" if _BLOCK.search(token[3]) else "$"
            pieces.append(f"\x00{len(literals)}\x01")
            literals.append(f"{marks}{html.unescape(tex)}{marks}")
        done = closer.end()
    return "".join([*pieces, text[done:]]), literals


def _without_brackets(
    text: str,
    title: str,
    files: frozenset[str],
    categories: frozenset[str],
    left_out: list[str],
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
            name = _close(stack, mark, title, files, categories)
            inner = len(stack) > 1 and all(map(_is_shown, stack[1:]))
            if name and (inner or (len(stack) == 1 and _in_sentence(stack[0].pieces, text, done))):
                left_out.append(name)
    if not too_deep:
        stack[-1].pieces.append(text[done:])
    while len(stack) > 1:
        _give_up(stack)
    return "".join(stack[0].pieces)


_PARTNERS = {"}}": "{{", "]]": "[[", "|}": "{|"}


def _is_shown(frame: _Frame) -> bool:
    """Whether what stands in an open bracket comes to be text, as far as its name tells."""
    name = "".join(frame.pieces[: frame.bars[0] if frame.bars else None]).strip()
    if frame.opening != "{{":
        return frame.opening == "[[" and ":" not in name
    lower = name.replace("_", " ").lower()
    known = lower in RENDERED or lower in _SHOWN or lower.startswith("lang-")
    return known or function(name) is not None


def _in_sentence(before: list[str], text: str, after: int) -> bool:
    """Whether words stand in the same line before this place, or follow at once."""
    following = text[after : after + 80].partition("\n")[0].strip(" \t")
    if following and following[0] not in "{|<[!*#:;=}":
        return True
    for piece in reversed(before):
        line = piece.rpartition("\n")[2]
        if line.strip(" \t*#:;='|"):
            return True
        if "\n" in piece:
            return False
    return False


def _close(
    stack: list[_Frame], mark: str, title: str, files: frozenset[str], categories: frozenset[str]
) -> str:
    """An end: of the innermost frame it fits. A link is not closed over an open template.

    Returns the name of a template that is dropped because nobody knows what it shows.
    """
    wanted = _PARTNERS[mark]
    index = len(stack) - 1
    while index and stack[index].opening != wanted:
        if mark == "]]":
            index = 0
            break
        index -= 1
    if not index:
        return ""
    while len(stack) - 1 > index:
        _give_up(stack)
    frame = stack.pop()
    if wanted == "[[":
        shown = _link(_arguments(frame), files, categories)
    elif wanted == "{{":
        arguments = _arguments(frame)
        known = _template(arguments, title)
        if known is None:
            return _name_to_tell(arguments[0])
        shown = known
    else:
        shown = ""
    stack[-1].pieces.append(shown)
    return ""


def _name_to_tell(name: str) -> str:
    """How a dropped template is counted; "" for those that carry no text of the article."""
    name = " ".join(name.replace("_", " ").split()).lower().partition(":")[0]
    editorial = name in _EDITORIAL or name.startswith(("cite ", "sfn", "harv", "efn", "#"))
    return "" if editorial or not name else f"template {name[:40]}"


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


def _template(arguments: list[str], title: str) -> str | None:
    """What a template shows; None if nobody knows."""
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
        return None
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
