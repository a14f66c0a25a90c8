"""What encoding bytes are in: by what is valid, and by what reads like Japanese."""

from __future__ import annotations

import io
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai_corpus.sources.encodings import codec_of, declared_in, decode

JAPANESE = [
    f"{who}{where}{what}"
    for who in ("私は", "先生が", "古い時計が")
    for where in ("東京で", "海の近くで", "朝早くから")
    for what in ("本を読んでいます。", "歌をうたった。", "カメラを直した。")
]
ASCII = ["The old clock waits for rain.", "def f(x):\n    return [x + 1, {'k': x}]\n", "", "a\tb"]
CODECS = ("utf-8", "cp932", "euc_jp", "iso2022_jp")
JIS = [
    bytes((row + 160, cell + 160)).decode("euc_jp")
    for row in (*range(3, 6), *range(16, 48))
    for cell in range(1, 95)
    if not (row == 3 and cell not in (*range(16, 26), *range(33, 59), *range(65, 91)))
    and not (row == 4 and cell > 83)
    and not (row == 5 and cell > 86)
    and not (row == 47 and cell > 51)
]


@pytest.mark.parametrize("codec", CODECS)
def test_japanese_sentences_are_read_in_every_encoding(codec: str) -> None:
    for sentence in JAPANESE:
        assert decode(sentence.encode(codec)) == (sentence, codec)


@given(
    text=st.text(st.sampled_from(JIS), min_size=12, max_size=60),
    kana=st.text(st.sampled_from([c for c in JIS if "ぁ" <= c <= "ん"]), min_size=6, max_size=20),
    codec=st.sampled_from(CODECS),
)
def test_text_with_kana_of_twenty_bytes_or_more_comes_back(
    text: str, kana: str, codec: str
) -> None:
    assert decode((kana + text).encode(codec))[0] == kana + text


@given(text=st.text(max_size=200))
def test_any_utf8_comes_back(text: str) -> None:
    data = text.encode("utf-8", "replace")
    if "\x1b$" not in text:
        assert decode(data)[0] == data.decode().removeprefix("\ufeff")


@given(data=st.binary(max_size=300), label=st.sampled_from(["", "utf-8", "sjis", "latin1", "??"]))
def test_bytes_give_text_or_an_error_of_unicode_and_no_other(data: bytes, label: str) -> None:
    try:
        text, codec = decode(data, label)
    except UnicodeError:
        return
    assert isinstance(text, str)
    assert codec


@pytest.mark.parametrize(
    ("mark", "codec"),
    [(b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
     (b"\xff\xfe\0\0", "utf-32-le")],
)  # fmt: skip
def test_a_byte_order_mark_decides_and_goes(mark: bytes, codec: str) -> None:
    assert decode(mark + "日本語".encode(codec), "shift_jis") == ("日本語", codec)


def test_characters_of_nec_and_ibm_survive_in_all_three_encodings() -> None:
    # Bytes from the WHATWG index jis0208: ① is row 13 cell 1, ㈱ 13-74.
    assert decode("番号は①と㈱髙島屋と﨑です。".encode("cp932"))[0] == "番号は①と㈱髙島屋と﨑です。"
    euc = "番号は".encode("euc_jp") + b"\xad\xa1" + "と".encode("euc_jp") + b"\xad\xea"
    assert decode(euc + "です。".encode("euc_jp")) == ("番号は①と㈱です。", "euc_jp")
    jis = b"\x1b$B" + bytes(byte & 0x7F for byte in euc) + b"\x1b(B."
    assert decode(jis) == ("番号は①と㈱.", "iso2022_jp")


def test_half_width_katakana_is_read_in_shift_jis_and_jis() -> None:
    assert decode("ﾃｽﾄのｶﾀｶﾅです".encode("cp932"))[0] == "ﾃｽﾄのｶﾀｶﾅです"
    assert decode("ﾃｽﾄのｶﾀｶﾅです".encode("iso2022_jp_ext"))[0] == "ﾃｽﾄのｶﾀｶﾅです"


def test_the_wave_dash_is_the_same_character_from_every_encoding() -> None:
    texts = {decode("一月〜三月の予定です。".encode("euc_jp"))[0],
             decode("一月～三月の予定です。".encode("cp932"))[0],
             decode("一月〜三月の予定です。".encode("iso2022_jp"))[0]}  # fmt: skip
    assert texts == {"一月～三月の予定です。"}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("label", ["utf-8", "Shift_JIS", "EUC-JP", "iso-8859-1", "windows-1252"])
def test_a_wrong_declaration_is_not_believed(codec: str, label: str) -> None:
    text = "\n".join(JAPANESE[:5])
    assert decode(text.encode(codec), label) == (text, codec)


@pytest.mark.parametrize(
    ("text", "label", "codec"),
    [("Привет, как дела?", "koi8-r", "koi8-r"), ("Déjà vu, garçon", "iso-8859-1", "cp1252"),
     ("今天天气很好，我们去公园。", "gb2312", "gb18030"), ("오늘은 날씨가 좋다", "euc-kr", "cp949"),
     ("今天天氣很好", "big5", "big5hkscs")],
)  # fmt: skip
def test_other_languages_are_read_as_declared(text: str, label: str, codec: str) -> None:
    assert decode(text.encode(codec), label) == (text, codec)


def test_of_several_declarations_the_next_is_tried() -> None:
    assert decode("été".encode("cp1252"), ("utf-8", "latin1")) == ("été", "cp1252")


@pytest.mark.parametrize("text", ASCII)
def test_ascii_is_utf8(text: str) -> None:
    assert decode(text.encode(), "shift_jis") == (text, "utf-8")


def test_a_text_with_one_broken_place_is_kept_and_noise_is_not() -> None:
    data = "".join(JAPANESE).encode()
    text, codec = decode(data[:1000] + b"\xff" + data[1000:])
    assert codec == "utf-8"
    assert 1 <= text.count("\ufffd") <= 5
    with pytest.raises(UnicodeError, match="broken"):
        decode(bytes(range(128, 256)) * 20)


@pytest.mark.parametrize(
    ("head", "label"),
    [
        (b'<html><meta charset="Shift_JIS">', "Shift_JIS"),
        (b"<META http-equiv=Content-Type content='text/html; charset=euc-jp'>", "euc-jp"),
        (b'<?xml version="1.0" encoding="EUC-JP"?><html>', "EUC-JP"),
        (b'<meta charset="utf-16">', "utf-8"),
        (b"<p>charset=x</p>", ""),
        (b"", ""),
        (b" " * 2000 + b"<meta charset=euc-jp>", ""),
    ],
)
def test_what_a_page_declares(head: bytes, label: str) -> None:
    assert declared_in(head) == label


@pytest.mark.parametrize(
    ("label", "codec"),
    [("Shift_JIS", "cp932"), ("x-sjis", "cp932"), (" UTF8 ", "utf-8"), ("latin1", "cp1252"),
     ("us-ascii", "cp1252"), ("EUC-JP", "euc_jp"), ("gb2312", "gb18030"), ("rot13", ""),
     ("base64", ""), ("unicode_escape", ""), ("utf-7", ""), ("none", ""), ("\0", ""),
     ("x" * 1000, "")],
)  # fmt: skip
def test_labels_stand_for_what_browsers_take_them_for(label: str, codec: str) -> None:
    assert codec_of(label) == codec


@pytest.mark.skipif(not os.environ.get("YORIAI_DATA"), reason="YORIAI_DATA is not set")
def test_pieces_of_real_texts_are_told_apart_down_to_twenty_bytes() -> None:
    import zstandard

    path = Path(os.environ["YORIAI_DATA"]) / "text" / "ja.jsonl.zst"
    stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"))
    lines = io.TextIOWrapper(stream, encoding="utf-8")
    texts = [json.loads(line)["text"] for line, _ in zip(lines, range(300), strict=False)]
    chance = random.Random(0)
    for characters in (10, 20, 50, 500):
        for codec in CODECS:
            right = count = 0
            while count < 150:
                text = chance.choice(texts)
                start = chance.randrange(len(text))
                piece = text[start : start + characters]
                data = piece.encode(codec, "ignore")
                if len(data) < 20 or data.decode(codec) != piece or piece.isascii():
                    continue
                count += 1
                right += decode(data)[0] == piece
            assert right >= 0.98 * count, (codec, characters, right)
