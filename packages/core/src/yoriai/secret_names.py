"""Which names say that their value is a secret.

A name is judged by its words (``smtpPass`` is *smtp*, *pass*; ``compass`` is one word), because
a project about language models is full of keys, tokens and passes that are none. Wide letters,
letters with a mark or something invisible beside them, and letters of another script that look
alike are read as the plain ones.
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
    " keypass storepass htpasswd setcookie cred creds mnemonic psk pincode totp"
    " パスワード 暗証番号 秘密鍵 暗号鍵 合言葉 認証情報"
)
_SECRET_ENDS = (
    "password", "passwd", "passphrase", "apikey", "webhook", "パスワード", "アクセストークン",
    "認証トークン", "秘密鍵",
)  # fmt: skip
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
    ("api", "キー"), ("seed", "phrase"), ("totp", "seed"), ("pin", "code"), ("access", "code"),
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
    r"pass|pwd?|pat|secret|token|cred|key|auth|webhook|web_?hook|cookie|login|conn|dsn|session"
    r"|jwt|bearer|otp|mnemonic|seed|psk|pin_?code|access_?code|パスワード|暗証番号|秘密鍵|暗号鍵|合言葉|認証情報|トークン|キー",
    re.IGNORECASE,
)


# Characters that take no room: a word with one inside looks as without (general category Cf of
# Unicode, the fillers of Hangul, variation selectors).
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


# Letters of Greek, Cyrillic, Armenian and further Latin that Unicode says look like a plain one
# (UTS #39, confusables.txt, 15.1; those that it compares with a small capital, such as the Cyrillic
# te, are read as that letter, and what looks like a capital I as an I).
_LOOK_ALIKES = {
    "a": "\u0251\u03b1\u0430", "b": "\u0432", "c": "\u03f2\u0441\u1d04", "d": "\u0501",
    "e": "\u0435\u04bd\uab32", "f": "\u0584\u1e9d\ua799\uab35", "g": "\u018d\u0261\u0581\u1d83",
    "h": "\u043d\u04bb\u0570", "i": "\u0131\u0269\u026a\u037a\u03b9\u0456\u04cf\u1fbe\ua647",
    "j": "\u03f3\u0458", "k": "\u03ba\u043a", "m": "\u043c", "n": "\u0578\u057c",
    "o": "\u03bf\u03c3\u043e\u0585\u1d0f\u1d11\uab3d", "p": "\u03c1\u03f1\u0440",
    "q": "\u051b\u0563\u0566", "r": "\u0433\u1d26\uab47\uab48", "s": "\u01bd\u0455\ua731",
    "t": "\u03c4\u0442", "u": "\u028b\u03c5\u057d\u1d1c\ua79f\uab4e\uab52",
    "v": "\u03bd\u0475\u1d20", "w": "\u026f\u0461\u051d\u0561\u1d21", "x": "\u0445",
    "y": "\u0263\u028f\u03b3\u0443\u04af\u1d8c\u1eff\uab5a", "z": "\u1d22", "A": "\u0391\u0410",
    "B": "\u0184\u0392\u0412\u042c\ua7b4", "C": "\u03f9\u0421", "E": "\u0395\u0415",
    "F": "\u03dc\ua798", "G": "\u050c", "H": "\u0397\u041d", "I": "\u0196\u0399\u0406",
    "J": "\u037f\u0408\ua7b2", "K": "\u039a\u041a", "L": "\u04c0", "M": "\u039c\u03fa\u041c",
    "N": "\u039d", "O": "\u039f\u041e\u0555", "P": "\u03a1\u0420", "R": "\u01a6",
    "S": "\u0405\u054f", "T": "\u03a4\u0422", "U": "\u054d", "V": "\u0474", "W": "\u051c",
    "X": "\u03a7\u0425\ua7b3", "Y": "\u03a5\u03d2\u0423\u04ae", "Z": "\u0396",
}  # fmt: skip
_PLAIN = str.maketrans({other: plain for plain, others in _LOOK_ALIKES.items() for other in others})
_MARKS = re.compile("[\u0300-\u036f]")


def plain_letters(text: str) -> str:
    """``text`` in plain letters for wide, marked and look-alike ones, without unseen ones."""
    if text.isascii():
        return text
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", _UNSEEN.sub("", text)))
    return unicodedata.normalize("NFC", bare).translate(_PLAIN)


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
