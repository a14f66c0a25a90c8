"""Which names say that their value is a secret.

A name is judged by its words (``smtpPass`` is *smtp*, *pass*; ``compass`` is one word), because
a project about language models is full of keys, tokens and passes that are none. Wide letters and
letters with something invisible between them are read as the plain ones; letters of another script
that look alike are not.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Literal

Verdict = Literal["secret", "perhaps", "no"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# One of these as the last word is enough.
_SECRET = _set(
    "password passwords passwd passphrase passphrases passcode passwort pwd pw secret secrets"
    " credential credentials apikey apikeys apitoken authtoken accesstoken authkey webhook"
    " webhooks authorization privatekey secretkey accesskey connectionstring connstr dsn"
    " sessionid sessionkey sshpass dbpass ldappass smtppass userpass rootpass adminpass"
    " keypass storepass htpasswd setcookie パスワード 暗証番号 秘密鍵"
)
_SECRET_ENDS = ("password", "passwd", "passphrase", "apikey", "webhook", "パスワード")
# These name secrets and other things too: the value has to look like one.
_PERHAPS = _set("token pass pat auth login cookie cookies jwt bearer otp")
# ``X_token``: of the text, not of the door.
_TOKENS_OF_TEXT = _set(
    "eos bos pad unk mask end start sep cls stop begin eot eod eom image audio video special"
    " control fim prefix suffix middle first last next previous per max min num byte bytes"
    " unused chat tool think new added extra each every one single decoder any no by of a the"
    " target source input output"
)
# Words before ``token``, ``key``, ``pass``, ``auth`` ... that leave no doubt.
_DOORS = _set(
    "api access auth oauth authentication bearer refresh session csrf xsrf security private"
    " personal secret service deploy client hub hf huggingface github gh gitlab slack discord"
    " telegram bot npm pypi openai anthropic azure aws gcp google gemini cohere mistral groq"
    " xai replicate together wandb comet neptune mlflow kaggle notion linear stripe twilio"
    " sendgrid databricks snowflake cloudflare datadog sentry ssh sftp ftp smtp imap mail"
    " email db database mysql postgres pg redis mongo mongodb ldap admin root sudo signing"
    " encryption account shared master storage license subscription ocp consumer webhook http"
    " https proxy registry docker artifact user app application jwt vault write basic"
)
_DOUBTFUL = _set("token pass pat auth login cookie key keys")
_PAIRS = frozenset({
    ("connection", "string"), ("conn", "str"), ("conn", "string"), ("session", "id"),
    ("pass", "word"), ("pass", "phrase"), ("web", "hook"), ("set", "cookie"),
})  # fmt: skip
# Words after the secret one that change nothing: PASSWORD_PROD, webhook_url, SECRET_2.
_AFTER = _set(
    "url uri value str string b64 base64 json prod production dev staging test ro rw old new"
    " raw plain primary secondary id"
)
# Words after it in a variable of the environment about a secret, that holds none.
_ABOUT = _set(
    "path file files dir folder name type kind count len length size mode method policy sock"
    " socket shell hint format expiry expires ttl timeout provider helper variable var env"
    " parallelism required require enabled disabled"
)
_DIGITS = frozenset("0123456789")
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})  # the shell's working folders

QUICK = re.compile(
    r"pass|pwd?|pat|secret|token|credential|key|auth|webhook|web_?hook|cookie|login|conn|dsn|session"
    r"|jwt|bearer|otp|パスワード|暗証番号|秘密鍵",
    re.IGNORECASE,
)


# Characters that take no room: a word with one inside looks as without (general category Cf of
# Unicode, the fillers of Hangul, variation selectors).
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


def plain_letters(text: str) -> str:
    """``text`` without characters that take no room, and in plain letters for wide ones (NFKC)."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _UNSEEN.sub("", text))


def words_of(name: str) -> list[str]:
    """``words_of("SMTPPass_2")`` is ``["smtp", "pass", "2"]``."""
    return [word.lower() for word in _WORDS.findall(name)]


@functools.lru_cache(4096)
def judge_name(name: str) -> Verdict:
    """Whether a value of this name is a secret: a key, an option, a header, a field."""
    name = plain_letters(name)
    if not QUICK.search(name) or name.rpartition(".")[2] in _NO_SECRETS:
        return "no"
    words = words_of(name)
    if _is_constant(name) and judge_variable(name):
        return "secret"
    while words and words[-1].isdigit():
        words.pop()
    found = _last(words)
    if found == "no" and len(words) > 1 and words[-1] in _AFTER:
        found = _last(words[:-1])
        return found if found == "secret" else "no"
    return found


def judge_variable(name: str) -> bool:
    """Whether a variable of the environment of this name holds a secret: any word tells."""
    name = plain_letters(name)
    if name.upper() in _NO_SECRETS:
        return False
    words = words_of(name)
    if not words or words[-1] in _ABOUT:
        return False
    ends = range(1, len(words) + 1)
    return any(
        words[n - 1] in _PERHAPS
        or words[n - 1] == "keys"
        or (words[n - 1] == "key" and n > 1 and not set(words[n:]) - _AFTER - _DIGITS)
        or _last(words[:n]) == "secret"
        for n in ends
        if not _is_of_text(words[:n])
    )


def _is_constant(name: str) -> bool:
    return name.isascii() and name.upper() == name and "_" in name and "-" not in name


def _is_of_text(words: list[str]) -> bool:
    return len(words) > 1 and words[-1] == "token" and words[-2] in _TOKENS_OF_TEXT


def _last(words: list[str]) -> Verdict:
    if not words:
        return "no"
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _SECRET or last.endswith(_SECRET_ENDS) or (before, last) in _PAIRS:
        return "secret"
    if last in _DOUBTFUL and before in _DOORS:
        return "secret"
    if last in _PERHAPS and not _is_of_text(words):
        return "perhaps"
    return "no"
