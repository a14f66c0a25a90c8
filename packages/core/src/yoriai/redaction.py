"""Keeping secrets, user names and home paths out of everything that is written.

Run files are meant to be published, so every string passes through a :class:`Redactor` on its way
out. Four things tell a secret: where it is known from (a variable of the environment, a field
marked :class:`yoriai.Secret`), its name (:mod:`yoriai.secret_names`), its shape
(:mod:`yoriai.secret_shapes`) and the form around it (headers, addresses). The rules err on the
side of hiding. What was hidden leaves a mark, and :func:`count_hidden` says how often and where.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yoriai.secret_names import QUICK, judge_name, judge_variable, plain_letters
from yoriai.secret_shapes import SHAPES, compiled

HIDDEN = "[redacted]"

# All patterns here take time in proportion to the text, whatever it is: a run of characters is
# looked at from its beginning only, and what has to follow it is asked for first.
_JWT_BEGINS = re.compile(r"\beyJ[\w-]{10}")
_JWT = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}")
_RUN = re.compile(r"[\w-]*")
# Up to the last @ before the path: a password may hold one too.
_URL_LOGIN = re.compile(r"(?<![a-zA-Z0-9+.-])([0-9+.-]*[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s'\"]+@")
_URL_SECRET = re.compile(
    r"([?&#;](?=[\w-]+=[^&\s'\"])"
    r"(?:[\w-]*(?:token|key|secret|password|signature|sig|auth)[\w-]*)=)[^&\s'\"]+",
    re.IGNORECASE,
)
# "Basic" and "bearer" are also plain words: what follows must look like a credential.
_HEADER = re.compile(
    r"\b((?i:authorization\s*:\s*\w+)|(?i:bearer|basic)(?=\s+[\w+/=.~-]*(?:[0-9=]|[a-z][A-Z])))"
    r"\s+[\w+/=.~-]{12,}"
)
# Options without a name (curl, sshpass, MySQL, docker, zip), SQL, and sentences.
_COMMANDS = (
    (
        "-u",
        re.compile(
            r"((?<!\S)(?:-u ?|--(?:proxy-)?user[ =])[^\s:/'\"]{1,200}:)(?!\d+(?!\S))[^\s'\"]+"
        ),
    ),
    ("sshpass", re.compile(r"(\bsshpass +-p ?)[^\s'\"]+")),
    (
        "-p",
        re.compile(r"(\b(?:mysql|mariadb)[\w-]{0,20}(?: [^\s|;&]{1,100}){0,8} -p)[^\s'\"]+"),
    ),
    ("login", re.compile(r"(\blogin(?: [^\s|;&]{1,100}){0,8}? -p[ =]?)[^\s'\"]+")),
    ("zip", re.compile(r"(\b(?:un)?zip(?: [^\s|;&]{1,100}){0,8}? -P ?)[^\s'\"]+")),
    ("7z", re.compile(r"(\b7za? (?:[^\s|;&]{1,100} ){0,8}?-p)[^\s'\"]+")),
    ("'", re.compile(r"((?i:\bidentified by|\bpassword) ')[^'\n]+")),
    (
        "",
        re.compile(
            r"((?i:\b(?:password|passwd|passphrase|passcode|(?:api|access|secret)[ -]?key)"
            r"(?: is| was| to|:? ?->)?):?\s[\"']?)"
            r"(?=[!-~]{0,60}\d)(?=[!-~]{0,60}[a-zA-Z])[!-~]{6,}"
        ),
    ),
    (
        "</",
        re.compile(r"((?i:<(?:\w+:)?[\w.-]*(?:password|passphrase|secret|token|apikey)>))[^<]+"),
    ),
    (
        "",
        re.compile(
            r"((?:パスワード|暗証番号|秘密鍵|合言葉|認証情報|アクセストークン|APIキー)(?:は|が|を|：|:)\s*[「『\"']?)"
            r"(?=[!-~]{0,60}\d)(?=[!-~]{0,60}[a-zA-Z])[!-~]{6,}"
        ),
    ),
)
# ``name=value``, ``name: value``, ``"name": "value"`` and ``--name value``, up to the value.
_NAMED = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]++)"
    r"(?:(?:\[\w*+\]|\])?(?P<quote>\\?['\"])?(?P<sep>[ \t]*+(?::=|=>|[:=：＝]|%3[AaDd])[ \t]*+)"
    r"|(?P<space>[ \t]++))"
)
_QUOTED = re.compile(
    r"""(?:[bfrBFR]{0,2})(?P<mark>["'])(?P<inner>(?:\\[^\n]|(?!(?P=mark))[^\\\n])*+)"""
)
_QUOTED_TWICE = re.compile(r"""\\(?P<mark>["'])(?P<inner>(?:(?!\\?(?P=mark))[^\n])*+)""")
_BARE = re.compile(r"[^\s'\"`]++")
# What stands on the lines below ``name:`` in YAML: a block, or one word.
_BELOW = re.compile(
    r"[|>][0-9+-]{0,2}[ \t]*\n(?P<block>(?:[ \t]+[^\s][^\n]*(?:\n|\Z))+)"
    r"|\n[ \t]+(?P<word>[^\s:'\"|>{\[&*#-][^\s:'\"]{2,})[ \t]*(?:\n|\Z)"
)
_REST_OF_LINE = re.compile(r"[^\r\n'\"]++")
_BEGINS_LINE = re.compile(r"(?:\A|\n)[ \t]*(?:- )?\Z")
# What stands where a secret would, and is none.
_STAND_IN = re.compile(
    r"(?:none|null|true|false|yes|no|str|string|int|bool|bytes|text|optional|any|empty|required"
    r"|\.{3}|…|\*+|x{3,}|os\.environ.*|os\.getenv.*|getenv.*|getpass.*|\$.*|%\w+%|<.*|\[redacted.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_CALL = re.compile(r"[\w.]*[({\[]")
_PLAIN_WORD_OF_MORE = re.compile(r"[a-z]+,? \w")
_NUMBER = re.compile(r"[\d.,:%/eE+-]+\Z")
_OPTION = re.compile(r"--?[A-Za-z][\w.-]*\Z")
_SETTING = re.compile(r"(?P<head>(?:--)?(?P<name>[\w.\[\]-]++)=)(?P<value>.+)\Z", re.DOTALL)

# ``{"name": "DB_PASSWORD", "value": "..."}``, as Kubernetes and its like write variables.
_NAMES_IN_PAIRS = {"name", "key", "variable"}
_HOMES = re.compile(r"(?<![\w.-])(/home|/Users|/export/home)/[^/\s:'\"]+")
# Account names so common that hiding them everywhere would only damage the text.
_COMMON_USERS = {
    *("root", "user", "admin", "runner", "ubuntu", "nobody", "test"),
    *("corpus", "train", "eval"),  # also the first half of every entry's name
}
# What variables about secrets say that is no secret.
_COMMON_VALUES = {
    *("true", "false", "none", "null", "auto", "basic", "yes", "no", "on", "off", "default"),
    *("main", "test", "user", "root", "admin", "local", "never", "always", "prompt", "enabled"),
    *("disabled", "login", "token", "bearer", "git", "store", "cache"),
}
# Values of fields that are marked as secret, noted as they are read; of this process.
_noted: set[str] = set()


def note_secret(value: str) -> None:
    """From now on hide ``value`` in all that this process writes."""
    if value.strip() and value != HIDDEN:
        _noted.add(value)


class Redactor:
    """Hides what ``environment`` and the user's account say must not be published."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        home: str | None = None,
        user: str | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        secrets = {
            value
            for name, value in environment.items()
            if judge_variable(name) and not _is_path(value) and value.lower() not in _COMMON_VALUES
        }
        self._secrets = _forms(value for value in secrets if len(value) >= 6)
        self._short = _short(value for value in secrets if len(value) < 6)
        self._home = str(Path.home()) if home is None else home
        user = _account() if user is None else user
        self._user = (
            None
            if user.lower() in _COMMON_USERS or len(user) < 3
            else re.compile(rf"(?<![\w]){re.escape(user)}(?![\w])")
        )

    def secrets(self, text: str) -> str:
        """``text`` without secrets; names and paths stay (for one's own terminal).

        A line in which wide or look-alike letters, or letters with something invisible between
        them, spell a secret comes back in plain letters; all lines, if a secret has several.
        """
        hidden = self._secrets_as_written(text)
        if hidden.isascii():
            return hidden
        plain = plain_letters(hidden)
        if plain == hidden:
            return hidden
        again = self._secrets_as_written(plain)
        if again.count(HIDDEN) <= plain.count(HIDDEN):
            return hidden
        lines, others = hidden.split("\n"), again.split("\n")
        if len(lines) != len(others):
            return again
        both = zip(lines, others, strict=True)
        return "\n".join(b if b.count(HIDDEN) > a.count(HIDDEN) else a for a, b in both)

    def _secrets_as_written(self, text: str) -> str:
        for secret in _forms(_noted) if _noted else ():
            text = text.replace(secret, HIDDEN)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        if self._short:
            text = self._short.sub(HIDDEN, text)
        text = _hide_shapes(_hide_jwt(text))
        text = _URL_LOGIN.sub(rf"\1{HIDDEN}@", text)
        text = _URL_SECRET.sub(rf"\1{HIDDEN}", text)
        text = _HEADER.sub(rf"\1 {HIDDEN}", text)
        for needle, pattern in _COMMANDS:
            if needle in text:
                text = pattern.sub(rf"\1{HIDDEN}", text)
        return _hide_named(text)

    def text(self, text: str) -> str:
        """``text`` without secrets, home paths and the user's name."""
        text = self.secrets(text)
        if len(self._home) > 1:
            text = re.sub(rf"{re.escape(self._home)}(?![\w-]|\.\w)", "~", text)
        text = _HOMES.sub("~", text)
        if self._user:
            text = self._user.sub("[user]", text)
        return text

    def value(self, value: Any) -> Any:
        """Redact every string inside a JSON value; keys named like secrets lose their value.

        So do an option's next word in a list, as in ``["--api-key", "..."]``, and what a word
        ``name=...`` of a list sets, to its end.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            told = {self.text(str(key)): self._item(str(key), item) for key, item in value.items()}
            for key in _NAMES_IN_PAIRS & value.keys():
                if "value" in value and isinstance(value[key], str):
                    told["value"] = self._item(value[key], value["value"])
            return told
        if isinstance(value, (list, tuple)):
            words = list(self._words(value))
            if len(value) == 2 and all(isinstance(item, str) for item in value):
                pair = judge_name(value[0]) == "secret" and _looks_secret(value[1])
                return [words[0], HIDDEN] if pair else words
            return words
        return value

    def words(self, words: Sequence[str]) -> list[str]:
        """A command line without secrets; names and paths stay."""
        return list(self._words(words, self.secrets))

    def _item(self, name: str, item: Any) -> Any:
        verdict = judge_name(name)
        if verdict == "secret" or name.lower() == "token":
            if isinstance(item, str):
                return HIDDEN if item else item
            if isinstance(item, (list, tuple)):
                return [self._item(name, inner) for inner in item]
            if isinstance(item, Mapping):
                return {self.text(str(key)): self._item(name, inner) for key, inner in item.items()}
            if isinstance(item, int) and not isinstance(item, bool) and verdict == "secret":
                return HIDDEN
        if verdict == "perhaps" and isinstance(item, str) and _looks_secret(item):
            return HIDDEN
        if verdict == "perhaps" and isinstance(item, (list, tuple)):  # auth: [user, password]
            return [self._item(name, inner) for inner in item]
        return self.value(item)

    def _words(
        self, words: Sequence[Any], text: Callable[[str], str] | None = None
    ) -> Iterator[Any]:
        text = text or self.text
        option = ""
        for word in words:
            if not isinstance(word, str):
                option = ""
                yield self.value(word)
                continue
            verdict = judge_name(option) if option else "no"
            option = ""
            if verdict != "no" and word and not word.startswith("--"):
                yield HIDDEN
            elif _OPTION.match(word):
                option = word
                yield text(word)
            elif (setting := _SETTING.match(word)) and (
                judge_name(setting["name"]) == "secret" and not _STAND_IN.match(setting["value"])
            ):
                yield text(setting["head"]) + HIDDEN
            else:
                yield text(word)


def count_hidden(value: Any, place: str = "") -> dict[str, int]:
    """How many secrets were hidden in a redacted JSON value, by place: ``{"argv[2]": 1}``.

    Where, not what. Account names and home paths are not counted: they are in every path.
    """
    found: dict[str, int] = {}
    if isinstance(value, str):
        return {place: value.count(HIDDEN)} if HIDDEN in value else {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            found |= count_hidden(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            found |= count_hidden(item, f"{place}[{index}]")
    return found


def say_hidden(found: Mapping[str, int], what: str) -> str:
    """A sentence for people about :func:`count_hidden`; "" where nothing was hidden."""
    if not found:
        return ""
    places = list(found)[:5]
    more = f" and {len(found) - 5} more places" if len(found) > 5 else ""
    total = sum(found.values())
    noun = "secret" if total == 1 else "secrets"
    return f"{total} {noun} hidden in {what}: {', '.join(places)}{more}"


# --- shapes ---------------------------------------------------------------------------------


def _hide_shapes(text: str) -> str:
    for shape in SHAPES:
        if shape.needle in text:
            text = compiled(shape).sub(_without_group, text)
    return text


def _without_group(found: re.Match[str]) -> str:
    if "secret" not in found.re.groupindex:
        return HIDDEN
    whole, start = found[0], found.start()
    return whole[: found.start("secret") - start] + HIDDEN + whole[found.end("secret") - start :]


def _hide_jwt(text: str) -> str:
    """Without JSON web tokens (RFC 7519, compact form).

    Where one beginning in a run of its characters does not go on as a token, no later one of
    the run does, so those are passed over.
    """
    kept: list[str] = []
    copied = place = passed = 0
    while found := _JWT_BEGINS.search(text, place):
        place = found.start()
        whole = _JWT.match(text, place) if place >= passed else None
        if whole is None:
            if place >= passed and (run := _RUN.match(text, place)):
                passed = run.end()
            place += 1
            continue
        kept += text[copied:place], HIDDEN
        copied = place = whole.end()
    return "".join([*kept, text[copied:]])


# --- names ----------------------------------------------------------------------------------


def _hide_named(text: str) -> str:
    """Without values that follow a name of a secret, in any of the forms of :data:`_NAMED`."""
    if not QUICK.search(text):
        return text
    kept: list[str] = []
    copied = place = 0
    while found := _NAMED.search(text, place):
        place = found.end()
        name = found["name"]
        if found["space"] is not None and not name.startswith("-"):
            continue
        verdict = judge_name(name) if len(name) <= 200 else "no"
        if verdict == "no":
            continue
        span = _value_after(text, found, verdict)
        if span is not None:
            kept += text[copied : span[0]], HIDDEN
            copied = place = span[1]
    return "".join([*kept, text[copied:]])


def _value_after(text: str, found: re.Match[str], verdict: str) -> tuple[int, int] | None:
    """Where the value of a name begins and ends, if it is to be hidden."""
    place = found.end()
    separator = (found["sep"] or " ").strip()
    colon = separator in (":", "：")
    words = found["name"].lower()
    if (
        words.endswith(("authorization", "cookie"))
        and colon
        and (whole := _REST_OF_LINE.match(text, place))
        and (inner := whole[0].rstrip()) not in ("", "\\")  # a quote inside a quote: as others
    ):
        hide = len(inner) >= 4 and inner != HIDDEN and not _STAND_IN.match(inner)
        return (place, place + len(inner)) if hide else None
    if (
        verdict == "secret"
        and colon
        and (below := _BELOW.match(text, place))
        and _BEGINS_LINE.match(text[text.rfind("\n", 0, found.start()) + 1 : found.start()])
        and not _STAND_IN.match(below[0].strip())
    ):
        part = "block" if below["block"] else "word"
        start = below.start(part)
        return start, start + len(below[part].rstrip())
    if verdict == "perhaps" and not colon and found["name"].lstrip("-").isupper():
        verdict = "secret"  # PASS=..., as a shell writes it
    if quoted := _QUOTED.match(text, place) or _QUOTED_TWICE.match(text, place):
        inner = quoted["inner"]
        if not inner or _STAND_IN.match(inner) or (verdict == "perhaps" and len(inner) < 6):
            return None
        start = quoted.start("inner")
        return start, start + len(inner)
    bare = _BARE.match(text, place)
    if bare is None:
        return None
    inner = bare[0] if bare[0].endswith(HIDDEN) else bare[0].rstrip(",;)}]>:|")
    if not inner or _STAND_IN.match(inner):
        return None
    if (found["sep"] or "").endswith("= ") and _CALL.match(inner):
        return None  # a line of a program
    if verdict == "perhaps":
        if _NUMBER.match(inner) or len(inner) < 6:
            return None
        if (colon or found["space"] is not None) and not _looks_secret(inner):
            return None
    elif colon:
        if len(inner) < 3 or not inner.isascii():
            return None
        line_start = text.rfind("\n", 0, found.start()) + 1
        begins = found.start() - line_start <= 80 and _BEGINS_LINE.match(
            text[line_start : found.start()]
        )
        if begins and (rest := _REST_OF_LINE.match(text, place)):
            inner = rest[0].split(" #")[0].rstrip()
        elif not begins and _PLAIN_WORD_OF_MORE.match(text, place):
            return None  # a sentence goes on
    return place, place + len(inner)


def _looks_secret(value: str) -> bool:
    """Whether a value may be a password or a key: no sentence, no number, no plain word."""
    if len(value) < 6 or not value.isascii() or re.search(r"\s", value) or _NUMBER.match(value):
        return False
    if _STAND_IN.match(value):
        return False
    kinds = (
        re.search(r"[a-z][A-Z]|[A-Z].*[a-z].*[A-Z]", value) is not None,
        re.search(r"\d", value) is not None and re.search(r"[A-Za-z]", value) is not None,
        re.search(r"[!@#$%^&*+~]", value) is not None,
    )
    return any(kinds)


# --- the environment ------------------------------------------------------------------------


def _forms(values: Any) -> list[str]:
    """The values as they are, in addresses and in what Python and JSON print, longest first."""
    found = {
        form
        for value in values
        for form in (value, quote(value, safe=""), repr(value)[1:-1], value.strip())
        if form
    }
    return sorted(found, key=len, reverse=True)


def _short(values: Any) -> re.Pattern[str] | None:
    """Short values are hidden where they stand as a word, and only if no word is like them."""
    found = [
        value for value in values
        if len(value) >= 4 or (len(value) >= 2 and not value.isalpha() and not value.isdigit())
    ]  # fmt: skip
    if not found:
        return None
    either = "|".join(re.escape(value) for value in sorted(found, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)")


def _is_path(value: str) -> bool:
    """Some variables name a file that holds the secret; the name itself is none."""
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # too long for a name, or not ours to look at
        return False


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such account, as in some containers
        return ""
