"""Personal data: what is found, what is left alone, and what a mask does."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from yoriai import Document
from yoriai_corpus.rules.general import MaskEmail
from yoriai_corpus.rules.pii import PersonalData, find
from yoriai_corpus.rules.pii_forms import is_card, is_my_number, luhn_check, my_number_check
from yoriai_corpus.text.batch import Batch


def masked(text: str, **keys: object) -> str:
    verdict = PersonalData(**keys).judge(Document("s", "1", text))
    return verdict.text if verdict.action == "edit" else text


FOUND = [
    # telephone
    ("電話 03-1234-5678 まで", "電話 <pii:phone> まで"),
    ("０９０−１２３４−５６７８", "<pii:phone>"),
    ("090‐1234‐5678", "<pii:phone>"),
    ("090ー1234ー5678", "<pii:phone>"),
    ("(03)1234-5678、03(1234)5678", "<pii:phone>、<pii:phone>"),
    ("（０３）１２３４−５６７８", "<pii:phone>"),
    ("045-123-4567 と 0422-12-3456", "<pii:phone> と <pii:phone>"),
    ("09012345678", "<pii:phone>"),
    ("TEL0312345678 FAX:03 1234 5679", "TEL<pii:phone> FAX:<pii:phone>"),
    ("フリーダイヤル0120-123-456", "フリーダイヤル<pii:phone>"),
    ("0800-123-4567", "<pii:phone>"),
    ("+81-90-1234-5678 / +81 (0)3-1234-5678", "<pii:phone> / <pii:phone>"),
    # My Number
    ("個人番号は123456789018です", "個人番号は<pii:my-number>です"),
    ("1234 5678 9018", "<pii:my-number>"),
    ("１２３４−５６７８−９０１８", "<pii:my-number>"),
    # cards
    ("4111 1111 1111 1111", "<pii:card>"),
    ("3782-822463-10005", "<pii:card>"),
    ("3530111333300000", "<pii:card>"),
    ("カード：4222222222222", "カード：<pii:card>"),
    # postal codes and addresses
    ("〒100-0001", "<pii:postal-code>"),
    ("〒１００−０００１ 東京都千代田区千代田１−１", "<pii:postal-code> <pii:address>"),
    ("100-0001 東京都千代田区", "<pii:postal-code> <pii:address>"),
    ("住所は東京都千代田区霞が関1-2-3です", "住所は<pii:address>です"),
    ("東京都千代田区霞が関一丁目二番三号", "<pii:address>"),
    ("北海道札幌市中央区北一条西2丁目1番1号", "<pii:address>"),
    ("大阪府大阪市北区梅田3丁目1-3 中央ビル 501号室", "<pii:address>"),
    ("茨城県つくば市天王台1-1-1", "<pii:address>"),
    ("〒231-0017 横浜市中区本町6-50-10", "<pii:postal-code> <pii:address>"),
    # with a word that says what it is
    ("○○銀行 本店 普通 1234567", "○○銀行 本店 普通 <pii:bank-account>"),
    ("口座番号：７６５４３２１", "口座番号：<pii:bank-account>"),
    ("記号12345 番号12345671", "記号12345 番号<pii:bank-account>"),
    ("パスポート番号 TR1234567", "パスポート番号 <pii:passport>"),
    ("運転免許証番号 第123456789012号", "運転免許証番号 第<pii:driving-licence>号"),
    # plates
    ("品川 300 あ 12-34", "<pii:licence-plate>"),
    ("横浜３３０さ・１２", "<pii:licence-plate>"),
    ("車両番号は横浜330さ1234", "車両番号は<pii:licence-plate>"),
    # the net
    ("taro.yamada@example.co.jp。", "<pii:email>。"),
    ("taro＠example.co.jp", "<pii:email>"),
    ("133.11.0.1 から", "<pii:ip-address> から"),
    ("2001:4860:4860::8888", "<pii:ip-address>"),
]
LEFT = [
    "2024-04-01 2024/04/01 12:34:56 2024.04.01",
    "Python 3.11.7 と Ubuntu 22.04.1 LTS と Chrome/96.0.4664.110",
    "version 12.34.56.78 と v4.30.319.1",
    "7.3.52.2. 構文",
    "価格は1,234,567,890円（税込 1234567 円）",
    "ISBN 978-4-00-310101-8 / ISBN4-00-310101-4 / ISBN 0-306-40615-2",
    "JAN 4901234567894",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "123e4567-e89b-12d3-a456-426614174000",
    "法人番号 7000012050002",
    "123456789017 は検査用数字が違う",
    "1234-5678-9017",
    "000000000000",
    "4111 1111 1111 1112",
    "3.141592653589793 0.123456789018",
    "https://example.com/id/123456789018?x=123456789018",
    "10.1016/j.cell.2019.01.001",
    "192.168.0.1 10.0.0.1 127.0.0.1 203.0.113.9 198.51.100.7 192.0.2.1 224.0.0.1 0.0.0.0",
    "::1 fe80::1 2001:db8::1 std::cout a::b 00:1a:2b:3c:4d:5e",
    "999.1.2.3 1.2.3 1.2.3.4.5",
    "東京都の人口は1400万人",
    "東京都は1999年に23区の2-3割",
    "大阪府大阪市北区の面積",
    "普通 1200 円、番号 1234567",
    "TR1234567",
    "第300条の12-34",
    "12の34",
    "@app.route('/') def f(): pass @ 3",
    "foo@2.1.0",
    "9:05-17:30 03-04 0120",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14",
    "2019-2020-2021 100-200-300",
    "圏外 010-1234-5678 ではない 00-1234-5678",
    "全角１２３と半角123",
    "",
]


@pytest.mark.parametrize(("text", "wanted"), FOUND)
def test_personal_data_is_masked(text: str, wanted: str) -> None:
    assert masked(text) == wanted


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert masked(text) == text


# --- check digits -------------------------------------------------------------------------


def test_check_digits_of_the_published_formula_and_of_known_cards() -> None:
    # 6 5 4 3 2 7 6 5 4 3 2 from the left, as the ordinance gives weights from the right.
    digits = "12345678901"
    total = sum(int(d) * w for d, w in zip(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=True))
    assert my_number_check(digits) == (0 if total % 11 <= 1 else 11 - total % 11) == 8
    assert luhn_check("7992739871") == 3  # the worked example of Luhn's patent in textbooks
    for known in ("4111111111111111", "5555555555554444", "378282246310005", "30569309025904",
                  "6011111111111117", "3530111333300000", "2223003122003222"):  # fmt: skip
        assert is_card(known)
    assert not is_card("1234567812345670")  # Luhn's digit is right, but nobody's prefix


WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
around = st.text(st.sampled_from("あ漢、。 \n（「：abc"), max_size=5).map(
    lambda text: text.rstrip("abc") + "、"
)


@given(
    digits=st.text("0123456789", min_size=11, max_size=11),
    before=around,
    after=around,
    wide=st.booleans(),
    gap=st.sampled_from(["", " ", "-", "−", "　"]),
)
def test_every_my_number_is_found(
    digits: str, before: str, after: str, wide: bool, gap: str
) -> None:
    assume(digits.strip("0"))
    number = digits + str(my_number_check(digits))
    assert is_my_number(number)
    shown = gap.join((number[:4], number[4:8], number[8:]))
    shown = shown.translate(WIDE) if wide else shown
    text = before + shown + "、" + after
    assert masked(text) == f"{before}<pii:my-number>、{after}"


@given(digits=st.text("0123456789", min_size=12, max_size=12))
def test_twelve_digits_with_another_check_digit_are_left(digits: str) -> None:
    right = my_number_check(digits[:11]) == int(digits[11])
    assert is_my_number(digits) == (right and digits.strip("0") != "")
    if not right:
        assert masked(digits, kinds=("my-number",)) == digits


ISSUED = [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("3528", 16),
          ("3589", 16), ("300", 14), ("36", 14), ("6011", 16), ("65", 16), ("62", 19)]  # fmt: skip


@given(
    issued=st.sampled_from(ISSUED),
    digits=st.text("0123456789", min_size=19, max_size=19),
    before=around,
    after=around,
    gap=st.sampled_from(["", " ", "-"]),
)
def test_every_card_number_is_found(
    issued: tuple[str, int], digits: str, before: str, after: str, gap: str
) -> None:
    prefix, length = issued
    body = (prefix + digits)[: length - 1]
    number = body + str(luhn_check(body))
    groups = (4, 6, length - 10) if length in (14, 15) else (4, 4, 4, length - 12)
    shown, at = [], 0
    for size in groups:
        shown.append(number[at : at + size])
        at += size
    text = before + gap.join(shown) + "、" + after
    assert masked(text) == f"{before}<pii:card>、{after}"


@given(octets=st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_addresses_of_the_public_net_only(octets: list[int]) -> None:
    text = "接続元 " + ".".join(map(str, octets)) + " より"
    address = ipaddress.IPv4Address(bytes(octets))
    public = address.is_global and not address.is_multicast and max(octets) >= 30
    assert (masked(text, kinds=("ip-address",)) != text) == public


# --- masks --------------------------------------------------------------------------------

noise = st.lists(
    st.sampled_from(
        [text for text, _ in FOUND] + LEFT + ["0", "-", " ", "1234", "@", "\n", "x", "あ"]
    ),
    max_size=8,
).map("".join)


@given(text=noise)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


@given(text=noise)
def test_only_digits_signs_and_addresses_go(text: str) -> None:
    """What stands between the masks stood in the text, in that order."""
    rest = text
    for piece in re.split(r"<pii:[a-z-]+>", masked(text)):
        assert piece in rest
        rest = rest[rest.index(piece) + len(piece) :]


@given(many=st.lists(noise, max_size=5))
def test_a_batch_is_judged_as_its_documents_are(many: list[str]) -> None:
    batch = Batch(Document("s", str(i), text) for i, text in enumerate(many))
    for rule in (PersonalData(), PersonalData(action="drop")):
        assert rule.judge_batch(batch) == [rule.judge(document) for document in batch]


@given(text=noise)
def test_what_mask_email_finds_is_found_here_too(text: str) -> None:
    rule = MaskEmail(replacement="<pii:email>")
    verdict = rule.judge(Document("s", "1", text))
    wanted = verdict.text if verdict.action == "edit" else text
    ascii_only = text.replace("＠", "at")
    assert masked(text.replace("＠", "at"), kinds=("email",)) == (
        wanted if ascii_only == text else masked(ascii_only, kinds=("email",))
    )


def test_a_drop_says_kind_and_place_and_never_the_secret() -> None:
    text = "連絡先 taro@example.co.jp / 090-1234-5678 / 個人番号 1234 5678 9018"
    verdict = PersonalData(action="drop").judge(Document("s", "1", text))
    assert verdict.action == "drop"
    assert verdict.value == 3
    assert verdict.span == "email at 4, phone at 25, my-number at 46"
    assert verdict.text == "連絡先 <pii:email> / <pii:phone> / 個人番号 <pii:my-number>"
    assert text[25:].startswith("090")


def test_kinds_and_prefix_are_the_users() -> None:
    text = "090-1234-5678 taro@example.co.jp"
    assert masked(text, kinds=("phone",)) == "<pii:phone> taro@example.co.jp"
    assert masked(text, prefix="") == "<phone> <email>"
    with pytest.raises(ValidationError):
        PersonalData(prefix="secret1")  # a digit could join what follows
    with pytest.raises(ValidationError):
        PersonalData(prefix="東京都千代田区一番地")  # a mask that is an address would be masked
    with pytest.raises(ValidationError):
        PersonalData(kinds=("name",))


def test_places_are_those_of_each_document_in_a_batch() -> None:
    texts = ["", "090-1234-5678", "なし", "電話は03-1234-5678"]
    found = find(Batch(Document("s", str(i), text) for i, text in enumerate(texts)))
    assert {i: [texts[i][one.begin : one.end] for one in own] for i, own in found.items()} == {
        1: ["090-1234-5678"],
        3: ["03-1234-5678"],
    }


def test_long_runs_of_digits_and_signs_end_soon() -> None:
    for text in ("1" * 50_000, "1-" * 50_000, "a@" * 20_000, "都道府県" * 10_000, "::" * 20_000,
                 "東京都" + "市" * 20_000, "1 " * 50_000, "1あ" * 20_000):  # fmt: skip
        masked(text)
