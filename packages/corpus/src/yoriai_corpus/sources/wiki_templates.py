"""Inline templates of Wikipedia that carry numbers, dates and names, as the text they show.

What each shows follows its documentation on ja.wikipedia.org or en.wikipedia.org
(``Template:NAME/doc``), without the optional conversion: ``{{convert|5|km|mi}}`` is "5 km", because
the number in the sentence is the author's and the other one is computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

Template = Callable[[Sequence[str], Mapping[str, str]], str]

_ERAS = ((2019, "令和"), (1989, "平成"), (1926, "昭和"), (1912, "大正"), (1868, "明治"))
_MONTH_NAMES = """January February March April May June
July August September October November December"""
_MONTHS = _MONTH_NAMES.split()
_RANGE = {"to": "–", "-": "–", "–": "–", "and": " and ", "or": " or ", "by": " by ", "x": " × ",
          "×": " × ", "+/-": " ± ", "±": " ± ", "to(-)": " to ", "～": "～"}  # fmt: skip
_CURRENCIES = {
    "jpy": "¥", "円": "¥", "us$": "US$", "usd": "US$", "eur": "€", "€": "€", "gbp": "£", "£": "£",
    "krw": "₩", "cny": "CN¥", "cad": "CA$", "aud": "A$", "inr": "₹",
}  # fmt: skip
_COUNTRIES = {
    "jpn": "日本",
    "usa": "アメリカ合衆国",
    "gbr": "イギリス",
    "fra": "フランス",
    "deu": "ドイツ",
    "ger": "ドイツ",
    "ita": "イタリア",
    "esp": "スペイン",
    "chn": "中華人民共和国",
    "prc": "中華人民共和国",
    "kor": "大韓民国",
    "prk": "朝鮮民主主義人民共和国",
    "rus": "ロシア",
    "can": "カナダ",
    "aus": "オーストラリア",
    "bra": "ブラジル",
    "nld": "オランダ",
    "ned": "オランダ",
    "bel": "ベルギー",
    "che": "スイス",
    "sui": "スイス",
    "aut": "オーストリア",
    "swe": "スウェーデン",
    "nor": "ノルウェー",
    "fin": "フィンランド",
    "dnk": "デンマーク",
    "pol": "ポーランド",
    "prt": "ポルトガル",
    "por": "ポルトガル",
    "grc": "ギリシャ",
    "tur": "トルコ",
    "ind": "インド",
    "idn": "インドネシア",
    "tha": "タイ",
    "vnm": "ベトナム",
    "phl": "フィリピン",
    "mys": "マレーシア",
    "sgp": "シンガポール",
    "twn": "中華民国",
    "roc": "中華民国",
    "hkg": "香港",
    "mex": "メキシコ",
    "arg": "アルゼンチン",
    "egy": "エジプト",
    "zaf": "南アフリカ共和国",
    "ukr": "ウクライナ",
    "irl": "アイルランド",
    "nzl": "ニュージーランド",
    "urs": "ソビエト連邦",
    "ussr": "ソビエト連邦",
    "uk": "イギリス",
}


def _first(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    return unnamed[0] if unnamed else named.get("1", "")


def _number(text: str) -> str:
    """Digits in groups of three, as ``{{formatnum:}}`` writes them; other text as it is."""
    found = re.fullmatch(r"([-−+]?)(\d+)((?:\.\d+)?)", text.replace(",", "").strip())
    return f"{found[1]}{int(found[2]):,}{found[3]}" if found else text.strip()


def _grouped(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    return _number(_first(unnamed, named))


def _convert(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    words = list(unnamed)
    pieces: list[str] = []
    while words:
        pieces.append(_number(words.pop(0)))
        if words and words[0] in _RANGE:
            pieces.append(_RANGE[words.pop(0)])
            continue
        break
    unit = words[0] if words else ""
    return "".join(pieces) + (f" {unit}" if unit else "")


def _val(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    text = _number(unnamed[0]) if unnamed else ""
    if len(unnamed) == 2:
        text += f"±{unnamed[1]}"
    elif len(unnamed) > 2:
        text += f"+{unnamed[1].lstrip('+')}−{unnamed[2].lstrip('-−')}"
    if power := named.get("e", ""):
        text += f"×10^{power}" if text else f"10^{power}"
    unit = named.get("u") or named.get("ul") or ""
    per = named.get("up") or named.get("upl") or ""
    return named.get("p", "") + text + (f" {unit}" if unit else "") + (f"/{per}" if per else "") \
        + named.get("s", "")  # fmt: skip


def _as_of(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    if named.get("alt"):
        return named["alt"]
    word = "as of" if named.get("lc") else "As of"
    if named.get("since"):
        word = "since" if named.get("lc") else "Since"
    return f"{word} {_english_date(unnamed)}".rstrip()


def _english_date(parts: Sequence[str]) -> str:
    if len(parts) > 1 and parts[1].isdigit() and 1 <= int(parts[1]) <= 12:
        day = f"{parts[2]} " if len(parts) > 2 and parts[2].isdigit() else ""
        return f"{day}{_MONTHS[int(parts[1]) - 1]} {parts[0]}"
    return " ".join(reversed(parts))


def _japanese_date(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    return "".join(f"{part}{mark}" for part, mark in zip(unnamed, "年月日", strict=False) if part)


def _era(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    """``{{和暦|1990}}``: 平成2年. The year in which an era begins counts to it."""
    year = _first(unnamed, named).strip()
    if not re.fullmatch(r"\d{4}", year):
        return year
    for first, era in _ERAS:
        if int(year) >= first:
            number = int(year) - first + 1
            return f"{era}{'元' if number == 1 else number}年"
    return f"{year}年"


def _fraction(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    if len(unnamed) > 2:
        return f"{unnamed[0]} {unnamed[1]}/{unnamed[2]}"
    if len(unnamed) == 2:
        return f"{unnamed[0]}/{unnamed[1]}"
    return f"1/{unnamed[0]}" if unnamed else ""


def _joined(separator: str) -> Template:
    def show(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
        return separator.join(filter(None, (part.strip() for part in unnamed)))

    return show


def _listed(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    """A list inside a template, its items in a row."""
    lines = (line.strip().lstrip("*#").strip() for line in _first(unnamed, named).split("\n"))
    return "、".join(filter(None, lines))


def _name(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    space = "" if any("\u3040" <= c <= "\u9fff" for c in "".join(unnamed[:2])) else " "
    return space.join(unnamed[:2])


def _money(sign: str) -> Template:
    def show(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
        return f"{sign}{_number(unnamed[0])}" if unnamed else sign

    return show


def _currency(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    code = unnamed[1] if len(unnamed) > 1 else ""
    return f"{_CURRENCIES.get(code.lower(), code)}{_number(_first(unnamed, named))}"


def _country(name: str) -> Template:
    return lambda _unnamed, _named: name


def _root(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    return f"√{_first(unnamed, named)}"


def _degrees(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    return "".join(f"{part}{mark}" for part, mark in zip(unnamed, "°′″", strict=False) if part)


def _age(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    """The date of birth; the age is that of the day of reading."""
    return _japanese_date(unnamed[:3], named)


def _chinese(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    return next((named[key] for key in ("t", "s", "c") if named.get(key)), _first(unnamed, named))


def _place(number: int) -> Template:
    """The argument of that number, counted from 0."""
    return lambda u, _: u[number] if len(u) > number else ""


def _constant(text: str) -> Template:
    return lambda _unnamed, _named: text


def _before(text: str, *, space: str = " ") -> Template:
    """A word and the first argument: ``{{HMS|Victory}}`` is "HMS Victory"."""
    return lambda u, n: f"{text}{space}{_first(u, n)}".strip()


def _age_at(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    """Whole years between two dates; without the second one it is the age of today, so none."""
    if len(unnamed) < 6 or not all(part.isdigit() for part in unnamed[:6]):
        return ""
    born, then = (tuple(map(int, unnamed[at : at + 3])) for at in (0, 3))
    return str(then[0] - born[0] - (then[1:] < born[1:]))


def _height(_unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    units = ("m", "cm", "ft", "in", "kg", "lb")
    return " ".join(f"{named[unit]} {unit}" for unit in units if named.get(unit))


def _percentage(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    """``{{percentage|1|8|1}}``: 12.5%. The third argument is the number of decimals."""
    try:
        part, whole = (float(value.replace(",", "")) for value in unnamed[:2])
        decimals = int(unnamed[2]) if len(unnamed) > 2 else 0
        return f"{100 * part / whole:.{max(0, min(9, decimals))}f}%"
    except (ValueError, ZeroDivisionError):
        return ""


def _ordinal(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    text = _first(unnamed, named).strip()
    if not text.isdigit():
        return text
    number = int(text[-2:])
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if not 10 < number < 20 else 0, "th")
    return text + ending


def _reign(unnamed: Sequence[str], _named: Mapping[str, str]) -> str:
    return f"r. {'–'.join(unnamed[:2])}"


def _above_below(unnamed: Sequence[str], named: Mapping[str, str]) -> str:
    return named.get("p", "") + named.get("b", "") or "".join(unnamed[:2])


RENDERED: dict[str, Template] = {
    **dict.fromkeys(("convert", "cvt", "convinfobox", "単位変換"), _convert),
    **dict.fromkeys(("val", "物理量"), _val),
    **dict.fromkeys(("as of", "asof"), _as_of),
    **dict.fromkeys(("nts", "formatnum", "numbers", "number", "num"), _grouped),
    **dict.fromkeys(("frac", "fraction", "分数", "sfrac", "frac2", "tfrac"), _fraction),
    **dict.fromkeys(("chem", "chem2", "化学式", "chem name"), _joined("")),
    **dict.fromkeys(("math", "mvar", "数式", "bigmath", "pmath", "var"), _first),
    **dict.fromkeys(("sqrt", "radic", "平方根"), _root),
    **dict.fromkeys(("和暦", "西暦和暦"), _era),
    **dict.fromkeys(("年月日", "日付", "ymd"), _japanese_date),
    **dict.fromkeys(("生年月日と年齢", "birth date and age", "死亡年月日と没年齢"), _age),
    **dict.fromkeys(("ルビ", "ruby", "ふりがな", "rb", "読み仮名"), _first),
    **dict.fromkeys(("plainlist", "flatlist", "plain list"), _listed),
    **dict.fromkeys(("hlist", "ubl", "unbulleted list", "ublist"), _joined("、")),
    **dict.fromkeys(("sortname", "人名"), _name),
    **dict.fromkeys(("flag", "flagcountry", "国旗", "flagu", "fb", "国名"), _first),
    **dict.fromkeys(("通貨", "currency"), _currency),
    **dict.fromkeys(("angle", "角度", "度分秒"), _degrees),
    **dict.fromkeys(("lang-zh", "zh-all"), _chinese),
    **{name: _money(sign) for name, sign in _CURRENCIES.items()},
    **{name: _country(country) for name, country in _COUNTRIES.items()},
    **dict.fromkeys(("nobr", "nowrap2", "旧字体", "圏点", "傍点", "縦書き", "環境依存文字",
                     "機種依存文字", "jis90フォント", "ruby-ja", "nihongo2", "nihongo3", "ipa-ja",
                     "respell", "flagathlete", "overline", "oldstyledate"), _first),
    **dict.fromkeys(("gaps", "gapnum"), _joined("")),
    **dict.fromkeys(("単位", "ship"), _joined(" ")),
    **dict.fromkeys(("dts", "start date and age", "end date and age", "film date", "release date",
                     "launch date", "death date", "death date and age"),
                    lambda u, _: _english_date(u[:3])),
    **dict.fromkeys(("ordinal", "ord"), _ordinal),
    **dict.fromkeys(("percentage", "pct"), _percentage),
    **dict.fromkeys(("pi", "π"), _constant("π")),
    **dict.fromkeys(("¥", "￥", "yen"), _money("¥")),
    **dict.fromkeys(("$", "usdollar"), _money("$")),
    **dict.fromkeys(("isbn", "isbn2"), _before("ISBN")),
    **dict.fromkeys(("no.", "no", "numero"), _before("No.")),
    **{name.lower(): _before(name) for name in ("HMS", "USS", "HMAS", "HMCS", "RMS", "SS", "MV")},
    "numblk": _place(1),
    "equation": _first,
    "age": _age_at,
    "height": _height,
    "reign": _reign,
    "su": _above_below,
    "e": _before("×10^", space=""),
    "10^": _before("10^", space=""),
    "floruit": _before("fl."),
    "fl.": _before("fl."),
    "unichar": _before("U+", space=""),
    "×": _constant("×"),
    "x": _constant("×"),
    "deg": _constant("°"),
    "degree": _constant("°"),
    "circa": lambda u, n: f"c. {_first(u, n)}".rstrip(),
    "c.": lambda u, n: f"c. {_first(u, n)}".rstrip(),
    "audio": lambda u, _: u[1] if len(u) > 1 else "",
    "sic": lambda u, _: "".join(u[:2]),
    "start date": lambda u, _: _english_date(u[:3]),
    "end date": lambda u, _: _english_date(u[:3]),
    "birth date": lambda u, _: _english_date(u[:3]),
}  # fmt: skip


def function(name: str) -> str | None:
    """What ``{{formatnum:…}}`` and its like show; None if it is no parser function of text."""
    word, colon, value = name.partition(":")
    if not colon:
        return None
    match word.strip().lower():
        case "formatnum":
            return _number(value)
        case "lc":
            return value.strip().lower()
        case "uc":
            return value.strip().upper()
        case "ucfirst":
            return value.strip()[:1].upper() + value.strip()[1:]
        case "lcfirst":
            return value.strip()[:1].lower() + value.strip()[1:]
        case _:
            return None
