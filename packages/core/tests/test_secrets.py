"""Names, forms and shapes of secrets are known; words of the field are left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Configured, Secret, config, record_faults
from yoriai.redaction import HIDDEN, Redactor, count_hidden, say_hidden
from yoriai.secret_names import judge_name, judge_variable, plain_letters
from yoriai.secret_shapes import SHAPES

PLAIN = Redactor({}, home="", user="")
HEX = "0123456789abcdef" * 8
MIXED = "aB3dE6gH9kLm2nP5qR8sT1vW4xY7z0" * 5

# One example for each provider, joined from parts so that no scanner takes it for a real one.
EXAMPLES = {
    "AWS": "AKIA" + "ABCDEFGHIJKLMNOP", "AWS session": "ASIA" + "ABCDEFGHIJKLMNOP",
    "GitHub": "ghp_" + MIXED[:36], "GitHub server": "ghs_" + MIXED[:36],
    "GitHub fine": "github_pat_" + MIXED[:82], "GitLab": "glpat-" + MIXED[:20],
    "GitLab deploy": "gldt-" + MIXED[:20], "Hugging Face": "hf_" + MIXED[:34],
    "OpenAI": "sk-" + MIXED[:48], "OpenAI project": "sk-proj-" + MIXED[:120],
    "Anthropic": "sk-ant-api03-" + MIXED[:93] + "AA", "OpenRouter": "sk-or-v1-" + HEX[:64],
    "Google": "AIza" + MIXED[:35], "Google OAuth": "GOCSPX-" + MIXED[:28],
    "Slack bot": "xoxb-" + "123456789012-1234567890123-" + MIXED[:24],
    "Slack app": "xapp-1-" + "A0123456789-1234567890123-" + HEX[:64],
    "npm": "npm_" + MIXED[:36], "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + MIXED[:60],
    "SendGrid": "SG." + MIXED[:22] + "." + MIXED[:43], "Twilio": "SK" + HEX[:32],
    "Stripe": "sk_live_" + MIXED[:24], "Stripe restricted": "rk_test_" + MIXED[:24],
    "Databricks": "dapi" + HEX[:32], "Telegram": "1234567890:A" + MIXED[:34],
    "DigitalOcean": "dop_v1_" + HEX[:64], "Shopify": "shpat_" + HEX[:32],
    "Linear": "lin_api_" + MIXED[:40], "Notion": "ntn_" + MIXED[:46],
    "Replicate": "r8_" + MIXED[:37], "Groq": "gsk_" + MIXED[:52], "xAI": "xai-" + MIXED[:80],
    "Perplexity": "pplx-" + MIXED[:48], "NVIDIA": "nvapi-" + MIXED[:64],
    "Vault": "hvs." + MIXED[:90], "Docker": "dckr_pat_" + MIXED[:27],
    "Discord bot": "M" + MIXED[:25] + "." + MIXED[:6] + "." + MIXED[:38],
    "Azure AD": "abc8Q~" + MIXED[:34], "Mailchimp": HEX[:32] + "-us12",
    "Tailscale": "tskey-auth-" + MIXED[:36], "W&B": "wandb_v1_" + MIXED[:60],
}  # fmt: skip


@pytest.mark.parametrize("provider", EXAMPLES)
@pytest.mark.parametrize("form", ["it is {} here", '"{}"', "x={}", "鍵は{}です", "{}\n"])
def test_a_key_of_a_provider_is_hidden_whatever_it_is_called(provider, form):
    text = form.format(EXAMPLES[provider])
    assert PLAIN.text(text) == form.format(HIDDEN)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://hooks.slack.com/services/T00000000/B00000000/XXXXyyyy0000", "XXXXyyyy"),
        ("https://discord.com/api/webhooks/123456789012345678/" + MIXED[:68], MIXED[:20]),
        ("https://x.webhook.office.com/webhookb2/" + MIXED[:60], MIXED[:20]),
        ("https://api.telegram.org/bot12345:" + MIXED[:35] + "/send", MIXED[:20]),
        ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + MIXED[:86] + "==", MIXED[:9]),
        ("wandb login " + HEX[:40], HEX[:40]),
        ("wandb.login(key='" + HEX[:40] + "')", HEX[:40]),
        ("my W&B API key is " + HEX[:40], HEX[:40]),
        ("API key: " + HEX[:32], HEX[:32]),
        ("machine api.wandb.ai login user password " + HEX[:40], HEX[:40]),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nxyz\n-----END PGP PRIVATE KEY BLOCK-----", "xyz"),
        ("postgresql://taro:pa55@db.example.org/x", "pa55"),
    ],
)
def test_what_is_secret_by_its_surroundings_is_hidden(text, secret):
    assert secret not in PLAIN.text(text)


def test_every_shape_names_its_source_and_holds_its_needle():
    assert all(shape.source and shape.provider for shape in SHAPES)
    assert len({(shape.needle, shape.pattern) for shape in SHAPES}) == len(SHAPES)


SECRET_NAMES = """
    password db_password DB_PASS smtpPass MYSQL_PWD PGPASSWORD my_pat_secret api_key apiKey
    X-Api-Key openai_key OPENAI_API_KEY access_keys private_key webhook webhook_url SLACK_WEBHOOK
    CONNECTION_STRING azure_connection_string client_secret auth_token hub_token GITHUB_PAT
    DB_LOGIN SESSION_COOKIE Set-Cookie session_id PRIVATE-TOKEN X-Auth-Token credentials
    sshpass passphrase SENTRY_DSN HTTP_AUTH SIGNING_KEYS password2 DB_PASSWORD_PROD watch.webhook
    TOTP_SEED PIN_CODE WIFI_PSK ACCESS_CODE
"""
OTHER_NAMES = """
    tokens max_tokens tokenizer author authors authority pattern path compass keyboard bypass
    key_value_heads num_key_value_heads eos_token pad_token bos_token tokens_per_second key keys
    sort_key partition_key primary_key patch passage passed first_passage loginfo cookiecutter
    secretary password_file HF_TOKEN_PATH api_key_variable TOKENIZERS_PARALLELISM monkey turkey
    keywords token_ids bytes_per_token dispatch compatible PWD OLDPWD SSH_AUTH_SOCK webhooked
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_name_of_a_secret_is_known(name):
    assert judge_name(name) == "secret"


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_a_name_of_something_else_hides_nothing(name):
    assert judge_name(name) == "no"
    assert PLAIN.value({name: "Ab3!xyz9"}) == {name: "Ab3!xyz9"}


@pytest.mark.parametrize(
    "name",
    ["PWD", "OLDPWD", "SSH_AUTH_SOCK", "HF_TOKEN_PATH", "TOKENIZERS_PARALLELISM", "XAUTHORITY",
     "PATH", "LOGNAME", "NUM_KEY_VALUE_HEADS", "GIT_ASKPASS", "KEYBOARD_LAYOUT"],
)  # fmt: skip
def test_a_variable_of_the_environment_about_something_else_is_no_secret(name):
    assert not judge_variable(name)


FORMS = [
    "{}: {}", "{}={}", "{} = {}", "--{} {}", "--{}={}", "'{}': '{}'", '"{}": "{}"', "{}: '{}'",
    "export {}={}", "- {}: {}", "curl -H '{}: {}'", "({}={}, x=1)", '"{{\\"{}\\": \\"{}\\"}}"',
]  # fmt: skip


@given(
    name=st.sampled_from([name for name in SECRET_NAMES.split() if "." not in name]),
    form=st.sampled_from(FORMS),
    secret=st.text("abcXYZ0189!$%^*+/_-", min_size=4, max_size=30).map(lambda t: "q7" + t),
)
def test_a_value_of_a_secret_name_is_hidden_in_every_form(name, form, secret):
    cleaned = PLAIN.text(form.format(name, secret))
    assert secret not in cleaned
    assert HIDDEN in cleaned
    assert PLAIN.text(cleaned) == cleaned


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


DISGUISES = {
    "wide": wide,
    "wide name": lambda text: wide(text[:8]) + text[8:],
    "zero width": lambda text: "\u200b".join(text),
    "soft hyphen": lambda text: text[:4] + "\u00ad" + text[4:],
    "joiner and mark": lambda text: text[:2] + "\u2060\ufe0f" + text[2:],
    "Cyrillic": lambda text: text.translate(str.maketrans("aceopxyAESH", "асеорхуАЕЅН")),
    "one Cyrillic letter": lambda text: text.replace("o", "о").replace("O", "О"),
    "Greek": lambda text: text.translate(str.maketrans("aopvEAOPSH", "αορνΕΑΟΡSΗ")),
    "small capitals": lambda text: text.replace("w", "ᴡ").replace("W", "Ԝ").replace("o", "ᴏ"),
    "line below": lambda text: "\u0332".join(text) + "\u0332",
}


@pytest.mark.parametrize("form", ["password: {}", "password={}", '"password": "{}"', "{}"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_secret_in_wide_letters_or_with_something_invisible_is_hidden(disguise, form):
    secret = "hf_" + MIXED[:34] if form == "{}" else "hunter2XyZ9"
    cleaned = PLAIN.text(DISGUISES[disguise](form.replace("{}", secret)))
    assert secret[:20] not in plain_letters(cleaned)
    assert HIDDEN in cleaned
    assert PLAIN.text(cleaned) == cleaned


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_key_in_wide_letters_or_with_something_invisible_loses_its_value(disguise):
    name = DISGUISES[disguise]("password")
    assert list(PLAIN.value({name: "hunter2"}).values()) == [HIDDEN]
    assert judge_variable(DISGUISES[disguise]("MY_PASSWORD"))


def test_what_no_secret_is_in_keeps_its_letters():
    text = "ＡＢＣ　ｋｅｙ　ﾃｽﾄ\u200b、①② ﬁ"
    assert PLAIN.text(text) == text


@pytest.mark.parametrize(
    "form",
    [
        "docker login -u taro -p {}", "zip -P {} x", "unzip -q -P {} x", "7z a -p{} x",
        "CREATE USER x PASSWORD '{}'", "identified by '{}'", "<password>{}</password>",
        "<server:apiKey>{}</server:apiKey>", "password is {}", "set password to {}",
        "password {}", "password\t{}", "password -> {}", "passwd {}", "パスワードは{}です",
        "合言葉は「{}」", "password=r'{}'", "password = b'{}'", "password[0]={}", "[password]={}",
        "password%3D{}", "seed_phrase: {}", "creds: {}", "APIキー: {}",
        "https://open.feishu.cn/open-apis/bot/v2/hook/{0}{0}",
        "https://outlook.office.com/webhook/{0}{0}",
    ],
)  # fmt: skip
def test_a_secret_in_a_command_in_sql_in_xml_or_in_a_sentence_is_hidden(form):
    cleaned = PLAIN.text(form.format("hunter2XyZ9"))
    assert "hunter2" not in cleaned
    assert HIDDEN in cleaned


@pytest.mark.parametrize(
    "value",
    [
        {"name": "DB_PASSWORD", "value": "hunter2"}, {"key": "apiKey", "value": ["hunter2"]},
        ["X-Api-Key", "hunter2"], {"headers": [["X-Api-Key", "hunter2"]]},
        {"auth": ["taro", "hunter2"]}, {"認証情報": "hunter2"}, {"アクセストークン": "hunter2"},
    ],
)  # fmt: skip
def test_a_secret_beside_its_name_is_hidden(value):
    assert "hunter2" not in json.dumps(PLAIN.value(value))


def test_a_pair_of_plain_words_and_a_value_of_a_plain_name_stay():
    for value in (["password", "login"], {"name": "seed", "value": "ab12cd"}, ["en", "x1y2z3"]):
        assert PLAIN.value(value) == value


def test_only_the_line_of_a_disguised_secret_comes_back_in_plain_letters():
    text = "Журнал: всё в порядке\nраssword: hunter2XyZ9\nΤέλος, ﾃｽﾄ"
    assert PLAIN.text(text) == f"Журнал: всё в порядке\npassword: {HIDDEN}\nΤέλος, ﾃｽﾄ"


def test_letters_that_unicode_says_look_alike_are_read_as_one():
    """Examples of UTS #39, confusables.txt, written out here by their code points."""
    others = "\u0440\u0430\u0455\u0455\u051d\u043e\u0433\u0501"  # all of them Cyrillic
    assert plain_letters(others) == "password"
    assert plain_letters("\u03a1\u0391\u0405\u0405") == "PASS"
    assert judge_name("\u0455\u0435\u0441\u0433\u0435\u0442") == "secret"


@pytest.mark.parametrize("name", ["PASS", "PAT", "AUTH", "LOGIN", "COOKIE", "KEYS", "WEBHOOK"])
def test_a_variable_of_one_word_is_a_secret_too(name):
    redactor = Redactor({name: "q7-xyz"}, home="", user="")
    assert redactor.text("it is q7-xyz") == f"it is {HIDDEN}"


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 512", "author: Natsume9 Soseki", "pattern: [a-z]9+", "sha256: " + HEX[:64],
        "digest=" + HEX[:64], "commit " + HEX[:40], "id: dGhpcyBpcyBiYXNlNjQ=",
        "num_key_value_heads=8",
        "パスを確認してください: data/x1",
        "鍵となる考え: トークン数は512です", "token: a unit of text",
        "password is asked for", "login: see the page", "def f(password: str)", "password=None",
        "password=$DB_PASSWORD", "token = tokenizer.decode(x1)", "the secret: what is kept in mind",
        "task-specific-and-quite-long-name", "mask-aB3dE6gH9kLm2nP5qR8sT1vW4x", "auth: basic",
        "API key of commit " + HEX[:40],
        "cache key: " + HEX[:64], "key " + HEX[:40],
        "run 20261129T131907829487Z-31d2ea", "ｃｏｍｍｉｔ　" + HEX[:40],
        "ｓｈａ２５６：" + HEX[:64],
        "ｔｏｋｅｎｓ：５１２", "トークン\u200b数は512です", "ﾊﾟｽを確認: data/x1",
        "👩\u200d🔬 key=value", "пароль хранится в сейфе: Ab3xyz9", "το κλειδί: Αβγ123",
        "passé: très Bien9", "login -> page 2", "password rules of 2026", "7z a x.7z y",
        "zip x.zip data1", "キーはtoken_idsです", "<token>", "the password '", "seed: 20261122",
        "パッチを当てる: Ab3xyz9",
        "keys: a1b2c3d4", "pass: 3 of 5", "next_token: Abc123x", "basic and bearer schemes",
    ],
)  # fmt: skip
def test_words_of_the_field_digests_and_japanese_are_left_alone(text):
    assert PLAIN.text(text) == text


def test_an_option_takes_its_secret_from_the_next_word():
    words = [
        "run",
        "--api-key",
        "q7-xyz",
        "--set",
        "a.webhook=https://x.example/a b?c=d",
        "--out",
        "x",
    ]
    assert PLAIN.value(words) == [
        "run", "--api-key", HIDDEN, "--set", f"a.webhook={HIDDEN}", "--out", "x",
    ]  # fmt: skip


def test_a_header_is_hidden_to_its_end():
    assert PLAIN.text("Cookie: a=q7; b=q8\nAccept: x") == f"Cookie: {HIDDEN}\nAccept: x"
    assert PLAIN.text('curl -H "Authorization: Basic q7q8"') == f'curl -H "Authorization: {HIDDEN}"'


def test_a_password_of_several_words_is_hidden_whole():
    assert PLAIN.text("user: taro\npassword: correct horse 7\nport: 1") == (
        f"user: taro\npassword: {HIDDEN}\nport: 1"
    )
    assert PLAIN.text('password="correct horse"') == f'password="{HIDDEN}"'


def test_a_short_value_of_a_secret_variable_is_hidden_where_it_is_a_word():
    redactor = Redactor({"DB_PASS": "k9!z", "PIN_SECRET": "x7"}, home="", user="")
    assert redactor.text("with k9!z and x7, not x77") == f"with {HIDDEN} and {HIDDEN}, not x77"
    common = Redactor({"GIT_AUTH": "basic", "A_TOKEN": "ja"}, home="", user="")
    assert common.text("basic ja") == "basic ja"


def test_numbers_under_the_name_of_a_password_are_hidden_and_counts_of_tokens_are_not():
    value = {"password": 123456, "tokens": 5, "token": 3, "api_keys": ["q7"], "use_auth": True}
    hidden = {"password": HIDDEN, "tokens": 5, "token": 3, "api_keys": [HIDDEN], "use_auth": True}
    assert PLAIN.value(value) == hidden


def test_what_is_hidden_is_counted_by_place_and_told_without_what():
    value = PLAIN.value({"argv": ["--token", "q7q8q9"], "a": {"password": "q7"}, "b": "x"})
    assert count_hidden(value) == {"argv[1]": 1, "a.password": 1}
    assert say_hidden(count_hidden(value), "the run file") == (
        "2 secrets hidden in the run file: argv[1], a.password"
    )
    assert say_hidden({}, "the run file") == ""


def test_a_megabyte_of_beginnings_of_secrets_is_read_in_its_length():
    """In a process of its own, as a pattern that takes its square would take minutes."""
    units = [
        "sk-", "hf_hf_", "password='", 'a="\\', "pass=", "--pass ", "password: \n", "wandb key ",
        "machine a ", "SK", '\\"token\\":', "authorization: ", "cookie:'", "MNO-.", "SG.", "Q~",
        "passw.ord-", "discord.com/api/webhooks/1",
    ]  # fmt: skip
    code = (
        "import sys; from yoriai.redaction import Redactor\n"
        "for unit in sys.argv[1:]:\n"
        "    Redactor({}, home='', user='').text((unit * 1_000_000)[:1_000_000])\n"
    )
    subprocess.run([sys.executable, "-c", code, *units], check=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
@pytest.mark.parametrize("name", ["notes.txt", "run.sh", ".env", "analysis.ipynb"])
def test_any_file_of_a_record_is_looked_at_for_secrets(tmp_path, name, encoding):
    (tmp_path / name).write_bytes("é\nDB_PASS=q7-xyz9\n".encode(encoding))
    faults = list(record_faults._files(tmp_path))
    assert any(f"{name}:2: holds a secret" in fault for fault in faults)
    assert not any("q7" in fault for fault in faults)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("we used {hex}", True), ("wandb: {hex}", True), ("- `{hex}`", True), ("x = '{hex}'", True),
        ("commit {hex}", False), ('  "commit": "{hex}"', False), ("コミット {hex}", False),
        ("https://github.com/a/b/commit/{hex}", False), ("https://example.org/a/{hex}", False),
        ("revision: {hex}", False), ("sha1 {hex}", False), ("{hex}0000", False),
        ("v1-{hex}", False),
        ("run {hex}", False), ("{hex}012345678901234567890123", False),
    ],
)  # fmt: skip
def test_forty_digits_that_nothing_calls_a_commit_are_a_fault_of_a_record(tmp_path, line, told):
    (tmp_path / "notes.txt").write_text("first\n" + line.format(hex=HEX[:40]) + "\n")
    faults = [fault for fault in record_faults._files(tmp_path) if "notes.txt" in fault]
    assert bool(faults) == told, faults
    assert all("notes.txt:2: 40 hexadecimal digits" in fault for fault in faults)
    assert not any(HEX[:40] in fault for fault in faults)


# --- fields that are marked -------------------------------------------------------------------


class Door(Configured):
    """A key whose name says nothing."""

    where: Annotated[str, Secret()] = ""


def test_a_marked_field_is_there_for_the_step_and_nowhere_else():
    door = Door(where="quiet-place-7")
    assert door.where == "quiet-place-7"
    assert config.plain(door) == {"where": HIDDEN}
    assert config.identity(Door(where="other-place-8")) == config.identity(door)
    assert config.plain(Door()) == {"where": ""}
    argv = ["--set", "x.where=quiet-place-7", "at quiet-place-7"]
    assert "quiet-place" not in json.dumps(PLAIN.value(argv))


def test_a_marked_field_may_name_a_variable_and_is_written_as_that(monkeypatch):
    monkeypatch.setenv("DOOR", "quiet-place-9")
    door = Door(where="$DOOR")
    assert door.where == "quiet-place-9"
    assert config.plain(door) == {"where": "$DOOR"}
    assert "quiet" not in PLAIN.text("at quiet-place-9")
    monkeypatch.delenv("DOOR")
    with pytest.raises(pydantic.ValidationError, match="DOOR is not set"):
        Door(where="$DOOR")


def test_a_value_that_was_hidden_is_no_value():
    with pytest.raises(pydantic.ValidationError, match=r"give it again"):
        Door(where=HIDDEN)


MARKED = """
from typing import Annotated
from yoriai import Entry, Made, Secret, Step, hookimpl

class Call(Step):
    makes = "call"
    where: Annotated[str, Secret()] = ""
    def run(self, job):
        (job.out / "x.txt").write_text("x")
        if "crash" in self.where:
            raise RuntimeError(f"cannot reach {self.where}")
        return Made(facts={"told": self.where})

@hookimpl
def yoriai_steps():
    return [Entry(name="call", target="bell._plugin:Call", summary="Calls.", licence="MIT")]
"""


@pytest.mark.parametrize("end", ["", "-crash"])
def test_a_marked_field_reaches_no_file_and_no_output_of_a_run(plant, recipe, yoriai, end):
    plant("bell", MARKED)
    path = recipe("name: lab\nsteps:\n  call: {uses: bell/call}\n")
    secret = f"quiet&place/{'7x' * 4}{end}"
    setting = ("--set", f"call.where={secret}")
    plan = yoriai("run", str(path), *setting, "--dry-run", "--json")
    assert plan.code == 0, plan.err
    assert secret not in plan.out + plan.err
    assert plan.json["hidden"] == {"resolved.steps.call.where": 1}
    answer = yoriai("run", str(path), *setting)
    assert (answer.code == 0) == (not end), answer.err
    written = "".join(p.read_text() for p in Path("build").rglob("*") if p.is_file())
    assert secret not in written + answer.out + answer.err
    (path,) = Path("build/lab/runs").glob("*.json")
    assert "resolved.steps.call.where" in json.loads(path.read_bytes())["hidden"]
    if not end:
        assert "hidden in the run file" in answer.err


def test_a_run_that_fails_says_how_many_secrets_it_hid(recipe, yoriai):
    secret = "hf_" + "abcDEF123" * 4
    settings = [f"words.crash='no {secret} here'", f"licence='password: {secret}'"]
    words = [word for setting in settings for word in ("--set", setting)]
    answer = yoriai("run", str(recipe()), *words, "--until", "words")
    assert answer.code == 1
    assert "secrets hidden in the run file: argv" in answer.err
    assert secret not in answer.err + answer.out
    assert all(secret not in path.read_text() for path in Path("build").rglob("*.json"))


def test_manifest_and_page_say_where_secrets_were_hidden(recipe, yoriai):
    secret = "hf_" + "abcDEF123" * 4
    licence = f"licence='password: {secret}'"
    words = ["--set", licence, "--set", f"words.note='see {secret}'", "--until", "words"]
    answer = yoriai("run", str(recipe()), *words)
    assert answer.code == 0, answer.err
    manifest = json.loads(Path("build/lab/words@1/artifact.json").read_bytes())
    hidden = manifest["circumstances"]["hidden"]
    assert hidden["licence"] == 1
    assert hidden["config.note"] == 1
    assert f"{sum(hidden.values())} secrets hidden in words@1/artifact.json" in answer.err
    page = Path("build/lab/page/index.html").read_text()
    assert "secrets hidden in the run file" in page
    assert secret not in page + json.dumps(manifest)


COMMANDS = [
    "curl -u me:{} https://a.org", "curl --user me:{}", "curl --user=me:{}",
    "curl --proxy-user me:{}",
    "sshpass -p {} ssh host", "sshpass -p{} ssh host", "mysql -h db -u root -p{} table",
    "mysqldump -p{} db", "ftp --pw {}", "password: |\n  {}\nother: 1", "a: 1\npassword:\n  {}\n",
    "  smtp_password: >-\n    {}\n    {}\n",
]  # fmt: skip


@pytest.mark.parametrize("form", COMMANDS)
def test_a_password_in_the_ways_of_commands_and_blocks_is_hidden(form):
    hidden = Redactor({}, home="/h", user="").secrets(form.replace("{}", "hunter2XyZ9"))
    assert "hunter2XyZ9" not in hidden
    assert "[redacted]" in hidden


@pytest.mark.parametrize(
    "text",
    ["docker run -u 1000:1000 image", "python -u train.py", "mysql -h db -p", "passwords:\n  - a\n",
     "secrets:\n  name: x\n", "git push -u origin main", "webhook:\n# nothing"],
)  # fmt: skip
def test_what_only_looks_like_it_stays(text):
    assert Redactor({}, home="/h", user="").secrets(text) == text
