"""Keeping secrets, user names and home paths out of everything that is written.

Run files are meant to be published, so every string passes through :func:`redact` on its
way out. The rules err on the side of hiding.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

_SECRET_NAME = re.compile(
    r"(TOKEN(?!IZ)|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY"
    r"|_KEY$|_AUTH$|SESSION_?ID|COOKIE|DSN$)",
    re.IGNORECASE,
)
# Keys of a configuration are judged by whole words: "tokens", "tokenizer" and "eos_token" are
# no secrets.
_SECRET_KEY = re.compile(
    r"(?<!eos)(?<!bos)(?<!pad)(?<!unk)(?<!mask)(?<!end)(?<!start)(^|_)"
    r"(token|secret|passw(or)?d|passphrase|credentials?|api_?key|private_key|access_key)$",
    re.IGNORECASE,
)
# All patterns here take time in proportion to the text, whatever it is: a run of characters is
# looked at from its beginning only, and what has to follow it is asked for first.

# Shapes of well-known tokens: Hugging Face, GitHub, GitLab, OpenAI and kin, AWS, Slack,
# Google, PEM blocks; and how a JWT begins.
_TOKEN_SHAPE = re.compile(
    r"hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}"
    r"|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}"
    r"|(?P<jwt>\beyJ[\w-]{10})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_JWT = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}")
_RUN = re.compile(r"[\w-]*")
# Up to the last @ before the path: a password may hold one too.
_URL_LOGIN = re.compile(r"(?<![a-zA-Z0-9+.-])([0-9+.-]*[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s'\"]+@")
_URL_SECRET = re.compile(
    r"([?&#;](?=[\w-]+=[^&\s'\"])"
    r"(?:[\w-]*(?:token|key|secret|password|signature|sig|auth)[\w-]*)=)[^&\s'\"]+",
    re.IGNORECASE,
)
# As in ``--set text.password=...`` and in what libraries print of their options.
_ASSIGNED = re.compile(
    r"((?<![a-z])(?:token|secret|passw(?:or)?d|passphrase|credentials?|api_?key|private_key"
    r"|access_key)(?:\s*=|['\"]\s*:)\s*['\"]?)(?!\[redacted|[\d.]+\b)[^\s&'\",)}]{6,}",
    re.IGNORECASE,
)
# "Basic" and "bearer" are also plain words: what follows must look like a credential.
_HEADER = re.compile(
    r"\b((?i:authorization\s*:\s*\w+)|(?i:bearer|basic)(?=\s+[\w+/=.~-]*(?:[0-9=]|[a-z][A-Z])))"
    r"\s+[\w+/=.~-]{12,}"
)
_HOMES = re.compile(r"(?<![\w.-])(/home|/Users|/export/home)/[^/\s:'\"]+")
# Account names so common that hiding them everywhere would only damage the text.
_COMMON_USERS = {
    *("root", "user", "admin", "runner", "ubuntu", "nobody", "test"),
    *("corpus", "train", "eval"),  # also the first half of every entry's name
}
HIDDEN = "[redacted]"


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
            form
            for name, value in environment.items()
            if _SECRET_NAME.search(name) and len(value) >= 6 and not _is_path(value)
            for form in (value, quote(value, safe=""), repr(value)[1:-1])
        }
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._home = str(Path.home()) if home is None else home
        user = _account() if user is None else user
        self._user = (
            None
            if user.lower() in _COMMON_USERS or len(user) < 3
            else re.compile(rf"(?<![\w]){re.escape(user)}(?![\w])")
        )

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _hide_tokens(text)
        text = _URL_LOGIN.sub(rf"\1{HIDDEN}@", text)
        text = _URL_SECRET.sub(rf"\1{HIDDEN}", text)
        text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
        text = _HEADER.sub(rf"\1 {HIDDEN}", text)
        if len(self._home) > 1:
            text = re.sub(rf"{re.escape(self._home)}(?![\w-]|\.\w)", "~", text)
        text = _HOMES.sub("~", text)
        if self._user:
            text = self._user.sub("[user]", text)
        return text

    def value(self, value: Any) -> Any:
        """Redact every string inside a JSON value; keys named like secrets lose their value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): HIDDEN
                if _SECRET_KEY.search(str(key)) and isinstance(item, str) and item
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value


def _hide_tokens(text: str) -> str:
    """Without what has the shape of a token.

    Where one beginning of a JWT in a run of its characters does not go on as one, no later one of
    the run does, so those are passed over.
    """
    kept: list[str] = []
    copied = place = passed = 0
    while found := _TOKEN_SHAPE.search(text, place):
        place, end = found.span()
        if found["jwt"]:
            whole = _JWT.match(text, place) if place >= passed else None
            if whole is None:
                if place >= passed and (run := _RUN.match(text, place)):
                    passed = run.end()
                place += 1
                continue
            end = whole.end()
        kept += text[copied:place], HIDDEN
        copied = place = end
    return "".join([*kept, text[copied:]])


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
