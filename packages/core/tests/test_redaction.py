"""No secret, user name or home path gets out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai.redaction import _URL_LOGIN, _URL_SECRET, HIDDEN, Redactor, _hide_jwt

HOME, USER = "/data/people/hanako", "hanako"
SECRET = "pw-Zq7!x9'\"\\ü&2"
PLAIN = Redactor({"MY_PASSWORD": SECRET}, home=HOME, user=USER)
TOKEN = "hf_" + "aB3dE6gH9k" * 3
LEAKS = {
    "hugging face": (f"download with {TOKEN} failed", TOKEN),
    "github": ("ghp_" + "a1B2" * 9, "a1B2"),
    "aws": ("id AKIAABCDEFGHIJKLMNOP.", "AKIAABCDEFGHIJKLMNOP"),
    "jwt": ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeK", "SflKxwRJSMeK"),
    "pem": ("-----BEGIN EC PRIVATE KEY-----\nMIIEowIBAAKC\n-----END EC PRIVATE KEY-----", "MIIEow"),
    "pem that was cut": ("-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKC", "MIIEow"),
    "login in a URL": ("https://taro:s3cr3t@example.org/x", "s3cr3t"),
    "login with an at sign": ("https://taro:s3cr3t@w0rd@example.org/x", "w0rd"),
    "token in a URL": ("GET https://example.org/x?a=1&access_token=abc123&b=2", "abc123"),
    "token in a fragment": ("https://example.org/#id_token=abc123", "abc123"),
    "signed URL": ("https://s3.example.org/x?X-Amz-Signature=abc123def", "abc123def"),
    "bearer": ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    "basic": ("authorization: basic aGFuYWtvOnB3MTIz", "aGFuYWtvOnB3MTIz"),
    "other scheme": ("Authorization: Token abcdefghijklmnop", "abcdefghijklmnop"),
    "setting": ("--set text.password=hunter22", "hunter22"),
    "python": ("login(token='hunter22hunter')", "hunter22hunter"),
    "dictionary": ("{'api_key': 'hunter22hunter'}", "hunter22hunter"),
    "home": (f"{HOME}/corpus/ja.txt", HOME),
    "home at the end of a sentence": (f"cannot write {HOME}.", HOME),
    "somebody's home": ("/home/taro/corpus", "taro"),
    "a Mac's home": ("/Users/taro/corpus", "taro"),
    "user": ("written by hanako@node3", "hanako"),
    "environment": (f"it is {SECRET}", SECRET),
    "environment in a URL": ("x=pw-Zq7%21x9%27%22%5C%C3%BC%262", "Zq7%21x9"),
    "environment in a repr": (repr([SECRET]), "Zq7"),
}  # fmt: skip


@pytest.mark.parametrize("case", LEAKS)
def test_what_must_not_be_published_is_hidden(case):
    text, secret = LEAKS[case]
    assert secret not in PLAIN.text(text)
    assert secret not in json.dumps(PLAIN.value({"a": [{text: (text,)}]}), ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        "300B tokens, tokenizer, end_token", "basic understanding of the bearer authentication",
        "corpus/build", "/data/people/hanakos/x", "hanakotoba",
        "bytes_per_token=3.1415926", "https://example.org/x?lang=ja&page=2", "key=value",
        "夏目漱石",
    ],
)  # fmt: skip
def test_what_may_be_published_is_left_alone(text):
    assert PLAIN.text(text) == text


def test_a_key_named_like_a_secret_loses_its_value_and_tokens_do_not():
    value = {"password": "a", "hf_token": "b", "tokens": "c", "tokenizer": "d", "token": 3}
    assert PLAIN.value(value) == {
        "password": HIDDEN, "hf_token": HIDDEN, "tokens": "c", "tokenizer": "d", "token": 3,
    }  # fmt: skip


@given(
    secret=st.text(st.characters(codec="utf-8"), min_size=6, max_size=30),
    before=st.text(max_size=10),
    after=st.text(max_size=10),
)
def test_no_planted_secret_survives_anywhere(secret, before, after):
    redactor = Redactor({"HF_TOKEN": secret}, home="", user="")
    text = f"{before}{secret}{after}"
    cleaned = redactor.text(text)
    # The mark itself may spell a secret like "[redac"; nothing of ours is told by that.
    assert secret not in cleaned.replace(HIDDEN, "") or secret in HIDDEN or secret in before + after


@given(st.text(max_size=60))
def test_redacting_twice_is_redacting_once(text):
    once = PLAIN.text(text)
    assert PLAIN.text(once) == once


# --- long texts -------------------------------------------------------------------------------

# What is hidden in a web address and in a token, without a thought for time.
_AS_DEFINED = (
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"), HIDDEN),
    (re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s'\"]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"([?&#;](?:[\w-]*(?:token|key|secret|password|signature|sig|auth)[\w-]*)=)[^&\s'\"]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)
PIECES = [
    "eyJ", "eyJ" + "a" * 10, "eyJ-eyJ" + "b" * 9, ".", "-", "c" * 10, "hf_" + "d" * 20, "sk-", "1",
    "+", "://", "a", "@", "/", " ", "?", "&", "=", "key", "KEY", "token", ";", "'", "é",
    "xoxa-", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=1000)
def test_the_quick_patterns_hide_what_the_plain_ones_do(text):
    found = _hide_jwt(text)
    assert found == _AS_DEFINED[0][0].sub(HIDDEN, text)
    for pattern, (defined, shown) in zip((_URL_LOGIN, _URL_SECRET), _AS_DEFINED[1:], strict=True):
        assert pattern.sub(shown, text) == defined.sub(shown, text)


def test_a_megabyte_without_spaces_is_read_in_its_length():
    """In a process of its own, as a pattern that takes its square would take minutes."""
    units = ["a", "a.", "eyJ-", "eyJaaaaaaaaaa-", "?key", "token", "://", "-----BEGIN "]
    code = (
        "import sys; from yoriai.redaction import Redactor\n"
        "for unit in sys.argv[1:]:\n"
        "    text = (unit * 1_000_000)[:1_000_000]\n"
        "    assert Redactor({}, home='/data/me', user='hanako').text(text) == text\n"
    )
    subprocess.run([sys.executable, "-c", code, *units], check=True)


# --- accounts and files -----------------------------------------------------------------------


@pytest.mark.parametrize("user", ["root", "train", "ja", ""])
def test_an_account_named_like_a_common_word_hides_no_words(user):
    text = "train/pretrain on ja by root"
    assert Redactor({}, home="", user=user).text(text) == text


def test_short_values_and_names_of_files_are_no_secrets(tmp_path):
    path = tmp_path / "credentials"
    path.touch()
    redactor = Redactor({"A_TOKEN": "ja", "GOOGLE_CREDENTIALS": str(path)}, home="", user="")
    assert redactor.text(f"ja {path.name}") == "ja credentials"


def test_a_secret_too_long_for_a_file_name_is_one_too():
    secret = '{"type": "service_account", "k": "' + "x" * 5000 + '"}'
    assert Redactor({"GCP_CREDENTIALS": secret}, home="", user="").text(secret) == HIDDEN


# --- whole runs -------------------------------------------------------------------------------

SECTION = """
from yoriai import Entry, Section, Table, hookimpl

@hookimpl
def yoriai_sections(artifact):
    note = artifact.file("words.txt").read_text() if artifact.kind == "words" else ""
    tables = [Table(columns=[note], rows=[[note]])]
    return [Section(title=note, text=note, quote=note, tables=tables)]

@hookimpl
def yoriai_run_started(run):
    import os
    return {"told": os.environ["HF_TOKEN"]}
"""
PLANTED = {
    "environment": "env-5ecret-value",
    "url": "https://taro:urlsecret1@example.org/data?token=urlsecret2&x=1",
    "bearer": "Authorization: Bearer bearersecret123456",
}
MUST_NOT_LEAK = ("env-5ecret-value", "urlsecret1", "urlsecret2", "bearersecret123456", "hanako",
                 "cfgsecret", "MIIEowIBAAKC")  # fmt: skip
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKC\n-----END PRIVATE KEY-----"


@pytest.fixture
def planted(plant, recipe, monkeypatch, tmp_path):
    home = tmp_path / "home" / "hanako"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "hanako")
    monkeypatch.setenv("HF_TOKEN", PLANTED["environment"])
    plant("ant", SECTION)
    text = " ".join([*PLANTED.values(), f"{home}/x", "by hanako", PEM])
    value = {
        "name": "lab",
        "question": {"title": {"en": f"does {text} leak?"}, "hypothesis": text},
        "steps": {"words": {"uses": "lab/words", "note": text, "password": "cfgsecret"}},
    }
    return recipe(json.dumps(value)), text


def everything(root: Path) -> str:
    names = ("*.json", "*.jsonl", "*.html", "*.yaml", "*.md")
    found = [path for name in names for path in sorted(root.rglob(name))]
    assert {"artifact.json", "index.html", "record.yaml"} <= {path.name for path in found}
    return "\n".join(path.read_text() for path in found)


def test_planted_secrets_reach_no_file_of_a_run_that_works(planted, yoriai):
    path, text = planted
    words = json.dumps([text])
    answer = yoriai("run", str(path), "--set", f"words.words={words}", "--set",
                    "words.password=cfgsecret")  # fmt: skip
    assert answer.code == 0, answer.err
    written = everything(Path("build/lab"))
    assert [secret for secret in MUST_NOT_LEAK if secret in written] == []
    assert HIDDEN in written


def test_planted_secrets_reach_no_file_of_a_run_that_fails(planted, yoriai):
    path, text = planted
    yoriai("run", str(path))
    argv = ("run", str(path), "--set", f"words.crash={json.dumps(text)}", "--set", "version=2")
    assert yoriai(*argv).code == 1
    reason = ("--allow-drift", f"because {text}")
    assert yoriai("run", str(path), "--set", "words.words=[x]", *reason).code == 0
    written = everything(Path("build/lab"))
    assert "RuntimeError" in written
    assert [secret for secret in MUST_NOT_LEAK if secret in written] == []


def test_an_input_under_somebodys_home_does_not_tell_whose_and_is_found_again(
    planted, recipe, yoriai, tmp_path
):
    store = tmp_path / "home" / "hanako" / "store"
    assert yoriai("run", str(planted[0]), "--out", str(store)).code == 0
    text = f"name: use\nsteps:\n  text: {{uses: lab/join, from: {store}/words@1}}\n"
    assert yoriai("run", str(recipe(text)), "--out", "here").code == 0
    manifest = Path("here/text@1/artifact.json").read_text()
    assert "hanako" not in manifest
    assert json.loads(manifest)["circumstances"]["folders"] == ["~/store/words@1"]
    assert yoriai("lineage", "here/text@1", "--json").json["inputs"][0]["here"] is True


def test_names_of_special_tokens_in_a_configuration_are_no_secrets():
    redactor = Redactor({}, home="", user="")
    value = {"eos_token": "</s>", "pad_token": "<pad>", "hub_token": "abcdef123"}
    assert redactor.value(value) == {"eos_token": "</s>", "pad_token": "<pad>", "hub_token": HIDDEN}


def test_a_web_address_with_a_folder_called_home_is_left_alone():
    redactor = Redactor({}, home="", user="")
    assert (
        redactor.text("see https://example.org/home/about") == "see https://example.org/home/about"
    )
    assert redactor.text("cp:/home/hanako/x") == "cp:~/x"
