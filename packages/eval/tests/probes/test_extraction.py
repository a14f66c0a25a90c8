"""Extraction: equal to the loop over single texts, and rising with copies."""

import zlib

import pytest

from yoriai_eval.probes import texts
from yoriai_eval.probes.extraction import Extracted, Extraction, dose_response, extract
from yoriai_eval.probes.step import ProbeStep, rows_of

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def learnt():
    """A tiny model that knows some texts by heart, and others not."""
    from yoriai_eval.probes.canaries import plant
    from yoriai_eval.probes.reading import OpenedFolder
    from yoriai_eval.probes.tiny import BEGIN, Characters, TinyTraining, train

    planted = [c.text for c in plant(10, 5, copies=(1,))]
    characters = Characters(planted)
    known = [characters.sequence(text) for text in planted[:10]]
    how = TinyTraining(epochs=40, width=32, rate=1e-2)
    model = train(known, len(characters), how)
    return OpenedFolder(model, characters, (BEGIN,), 0, len(characters)), planted


def one_by_one(opened, ids, k, count):
    """What the published scripts do: greedy writing by transformers, a text at a time."""
    with torch.inference_mode():
        made = opened.model.generate(
            torch.tensor([ids[:k]]), do_sample=False, min_new_tokens=count, max_new_tokens=count,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
    return made[0, k:].tolist()


def test_it_equals_the_loop_over_single_texts(learnt):
    from rapidfuzz.distance import Levenshtein

    opened, planted = learnt
    asked = [Extracted("s", str(n), opened.encode(text)) for n, text in enumerate(planted)]
    extract(opened, asked, [4, 8, 20], 8, approximate=True)
    exact = 0
    for a in asked:
        assert set(a.exact) == {4, 8}  # 20 and 8 more do not fit into 25
        for k in a.exact:
            made, wanted = one_by_one(opened, a.ids, k, 8), a.ids[k : k + 8]
            assert a.exact[k] is (made == wanted)
            assert a.accuracy[k] == sum(x == y for x, y in zip(made, wanted, strict=True)) / 8
            text, gold = opened.decode(made), opened.decode(wanted)
            longest = max(len(text), len(gold), 1)
            near = 1 - Levenshtein.distance(text, gold) / longest
            assert a.similarity[k] == pytest.approx(near)
            exact += a.exact[k]
    assert 10 <= exact < 30, "some are known by heart and some are not"


def test_it_takes_a_fraction_of_the_passes_of_the_loop(learnt, monkeypatch):
    opened, planted = learnt
    asked = [Extracted("s", str(n), opened.encode(text)) for n, text in enumerate(planted)]
    passes = []
    real = opened.model.forward
    monkeypatch.setattr(opened.model, "forward", lambda **o: passes.append(1) or real(**o))
    extract(opened, asked, [4, 8], 8, approximate=True)
    # The loop: 20 texts, two beginnings, eight ids each. Here: one pass, and eight a beginning.
    assert len(passes) <= 1 + 2 * 8 < 20 * 2 * 8 / 5


@pytest.mark.slow
def test_what_was_planted_more_often_is_written_more_often():
    rates = [m.value for m in dose_response(3)]
    assert rates == sorted(rates)
    assert rates[0] == 0.0
    assert rates[-1] == 1.0


def test_copies_are_those_of_a_brute_count(make):
    corpus = make.corpus("text", [("ababa", "en"), ("xabax", "en")], [("aba", "en")])
    assert texts.count_copies([corpus], ["aba", "zz", "ababa", "aba"]) == [3, 0, 1, 3]


def test_the_draw_is_the_same_for_any_order_and_long_enough(make):
    rows = [("x" * n, "en") for n in range(30)]
    corpus = make.corpus("text", rows, [])
    drawn = texts.draw([corpus], "documents", 5, 7, shortest=10)
    whole = [t for t in texts.all_texts([corpus], "documents", 7) if len(t.text) >= 10]
    assert drawn == sorted(whole)[:5]
    assert texts.draw([corpus], "heldout", 5, 7) == []


def test_texts_are_drawn_until_enough_of_them_fit(make):
    rows = [("長い文 " * 9 if n % 7 == 0 else "短い", "ja") for n in range(210)]
    corpus = make.corpus("text", rows, [])
    asked = []

    def fits(text):
        asked.append(text)
        return len(text) > 9

    found = texts.draw_fitting([corpus], "documents", 20, 3, fits)
    order = sorted(texts.all_texts([corpus], "documents", 3))
    wanted = [t for t in order if len(t.text) > 9][:20]
    assert found.texts == wanted  # by brute force
    assert found.tried == order.index(wanted[-1]) + 1
    assert found.passed_over == found.tried - 20 > 60
    assert len(asked) < 210, "what comes after the last one needed is not tried"
    # Too few fit: all are tried and told, or as many as are allowed.
    whole = texts.draw_fitting([corpus], "documents", 31, 3, fits)
    assert (len(whole.texts), whole.passed_over, whole.tried) == (30, 180, 210)
    some = texts.draw_fitting([corpus], "documents", 31, 3, fits, most=50)
    assert 25 <= some.tried <= 80
    assert some.texts == [t for t in order[: some.tried] if len(t.text) > 9]


def test_the_beginning_of_a_text_tells_whether_it_is_long_enough(learnt):
    opened, planted = learnt
    text = planted[0]
    for count in range(1, len(text) + 4):
        assert opened.has_tokens(text, count) == (len(opened.encode(text)) >= count)


def test_short_documents_do_not_keep_the_long_ones_from_being_asked(make, yoriai_job):
    rows = [("文書のことばはあれこれ続く。" * 4, "ja") for _ in range(12)]
    rows += [("ab" * 7, "en") for _ in range(200)]  # 14 characters of 7 tokens
    corpus = make.corpus("text", rows, rows[:1])
    probe = Extraction(prefixes=[4], continuation=8, items=12, approximate=False, twin=False)
    probe._entry = "eval/extraction"
    model = make.model(merges=[("a", "b")])
    made = yoriai_job("looks", ProbeStep(probes=[probe]), [model, corpus])
    told = made.facts["probes"]["eval/extraction"]["base"]
    assert told["measures"]["exact k=4 trained"]["items"] == 12
    [note] = [n for n in told["notes"] if "passed over" in n]
    assert "drawn from documents were passed over: they have fewer than 12 tokens" in note


def test_a_corpus_and_a_folder_are_probed_and_what_does_not_fit_is_said(make, yoriai_job):
    documents = [(f"文書{n}のことばはあれこれ続く。" * 3, "ja") for n in range(12)]
    corpus = make.corpus("text", documents, documents[:3])
    probe = Extraction(prefixes=[2, 4, 30], continuation=4, items=12, twin=False)
    probe._entry = "eval/extraction"
    step = ProbeStep(probes=[probe])
    made = yoriai_job("looks", step, [make.model(), corpus])
    told = made.facts["probes"]["eval/extraction"]["base"]
    assert told["state"] == "ran", told
    assert set(told["measures"]) >= {"exact k=2 trained", "exact k=4 held out"}
    assert told["measures"]["exact k=4 trained"]["items"] == 12
    assert told["measures"]["exact k=4 held out"]["note"] == "3 items are too few for an interval"
    assert told["validation"]["holds"] is None
    assert "prefixes of 30 tokens do not fit into the context of 32" in told["notes"]
    # Nobody wrote down what this model was trained on.
    assert any("it is not known whether base was trained on" in note for note in told["notes"])
    rows = list(rows_of(made, "eval/extraction", "base"))
    assert len(rows) == (12 + 3) * 2
    assert {row["k"] for row in rows} == {2, 4}
    assert told["order"][0] == "exact k=2 trained"


def test_a_model_too_small_for_any_prefix_is_told_before_it_is_opened(make, yoriai_job):
    from yoriai import UsageError

    probe = Extraction(prefixes=[32], continuation=32)
    probe._entry = "eval/extraction"
    corpus = make.corpus("text", [("a", "en")], [("b", "en")])
    with pytest.raises(UsageError, match="give shorter ones"):
        yoriai_job("looks", ProbeStep(probes=[probe]), [make.model(), corpus])


def test_a_protocol_fills_in_what_others_measure_and_may_be_overridden():
    told = Extraction(protocol="llm-jp")
    assert (told.prefixes, told.continuation) == ([50, 150, 450, 950], 50)
    assert [p + told.continuation for p in told.prefixes] == [100, 200, 500, 1000]
    assert told.bins == [0, 1, 10, 100, 1000]
    assert Extraction(protocol="pythia", continuation=16).continuation == 16
    with pytest.raises(ValueError, match="rising"):
        Extraction(prefixes=[8, 4])


def test_scores_of_tokens_are_those_of_their_definitions():
    from yoriai_eval.probes.membership import BLIND, of_tokens
    from yoriai_eval.probes.reading import token_scores

    class Fixed:
        """A model of five ids whose logits are given."""

        device = "cpu"

        class config:
            vocab_size = 5

            @staticmethod
            def get_text_config(decoder):
                return Fixed.config

        def __call__(self, input_ids, use_cache):
            torch.manual_seed(1)
            table = torch.randn(5, 5) * 3
            return type("Told", (), {"logits": table[input_ids]})

    ids = [0, 3, 1, 4, 4, 2]
    [told] = token_scores(Fixed(), [ids])
    torch.manual_seed(1)
    table = (torch.randn(5, 5) * 3).double()
    logs = table[torch.tensor(ids[:-1])].log_softmax(-1)
    right = [float(row[i]) for row, i in zip(logs, ids[1:], strict=True)]
    normal = []
    for row, value in zip(logs, right, strict=True):
        p = row.exp()
        mean = float((p * row).sum())
        spread = float((p * (row - mean) ** 2).sum()) ** 0.5
        normal.append((value - mean) / spread)
    found = of_tokens(told, "あいう", 0.4)
    packed = len(zlib.compress("あいう".encode()))
    assert found["loss"] == pytest.approx(sum(right) / 5, abs=1e-5)
    assert found["zlib"] == pytest.approx(sum(right) / packed, abs=1e-5)
    assert found["mink"] == pytest.approx(sum(sorted(right)[:2]) / 2, abs=1e-5)
    assert found["minkpp"] == pytest.approx(sum(sorted(normal)[:2]) / 2, abs=1e-4)
    assert found[BLIND] == -packed / 9
    assert told.best.tolist() == [int(row.argmax()) for row in logs]


def test_a_rate_over_no_documents_is_no_measure():
    short = Extracted("s", "1", [1] * 40)
    short.exact = {8: False}
    short.similarity, short.accuracy = {8: 0.0}, {8: 0.0}
    groups = {"documents": [], "heldout": [short]}
    names = [m.name for k in (8, 32) for m in Extraction()._rates(groups, k, 0)]
    assert names
    assert all("k=8 held out" in name for name in names)
