"""A pair of an evaluation text and a document gets one verdict, whoever asks."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yoriai import Document
from yoriai.same_text import EvaluationText, fields
from yoriai_corpus.build import contamination
from yoriai_corpus.text.batch import Batch
from yoriai_eval.contamination import search

MOUNTAIN = "日本でいちばん高い山は富士山という山です"
RIVER = "雨が降っている日が続いて川の水が増えた"
PAIRS = {
    "the same": (MOUNTAIN, MOUNTAIN, True),
    "katakana": (MOUNTAIN, "日本デイチバン高い山ハ富士山トイウ山デス", True),
    "half width": ("コンピュータとプログラムの基礎を学ぶ", "ｺﾝﾋﾟｭｰﾀとﾌﾟﾛｸﾞﾗﾑの基礎を学ぶ", True),
    "a square era": ("平成という元号が始まった年は何年", "㍻という元号が始まった年は何年", True),
    "iteration marks": ("こゝろよこゝろよと唱えて歩いた", "こヽろよこヽろよと唱えて歩いた", True),
    "some ASCII": ("次の self.assertEqual(a) は何か", "self.assertEqual(a)", False),
    "fifteen": ("あいうえおかきくけこさしすせそたち", "あいうえおかきくけこさしすせそ", False),
    "labels": (f"前提：{RIVER}\n仮説：川の水が増えた", f"{RIVER}。川の水が増えた", True),
    "another": (MOUNTAIN, "何の関係もない文章です。", False),
}


@pytest.mark.parametrize(("text", "document", "held"), PAIRS.values(), ids=PAIRS)
def test_corpus_and_ledger_give_the_same_verdict(tmp_path, text, document, held):
    item = EvaluationText("acme/exam", "1", fields(text))
    contamination.write_texts(tmp_path / "texts.json", [item], 16, 0.8)
    hits = contamination.Finder(tmp_path / "texts.json").find(Batch([Document("s", "d", document)]))
    columns = {"source": ["s"], "id": ["d"], "text": [document]}
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    rows = [[item.task, item.id, item.fields, item.cluster]]
    (tmp_path / "items.json").write_text(json.dumps([rows, 16, 0.8]))
    out = tmp_path / "found.json"
    search.search(search.SearchTask("c", tmp_path / "d.parquet", tmp_path / "items.json", out))
    found = json.loads(out.read_bytes())["found"]
    assert (bool(hits), bool(found)) == (held, held)
