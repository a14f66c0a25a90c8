"""Rows for new pieces: old rows keep their bytes, new ones begin where the method says."""

import pytest

from yoriai import Refused, UsageError
from yoriai_domain_adapt.measure.parity import Tolerance
from yoriai_domain_adapt.steps.pieces import Pieces
from yoriai_domain_adapt.steps.vocab import NewRowTraining, Vocab

torch = pytest.importorskip("torch")
TEXTS = ["the ship left the harbour", "the captain watched the waves"] * 20


def matrix(artifact):
    from safetensors.torch import load_file

    return load_file(artifact.path / "model.safetensors")["model.embed_tokens.weight"]


def pieces_of(artifact):
    from yoriai_domain_adapt.folders import vocabulary

    return vocabulary.read_tokenizer(artifact.path)


@pytest.fixture
def old(make):
    return make.byte_level("base", TEXTS[:1], 260, kind="model")


@pytest.fixture
def wide(make, old, yoriai_job):
    corpus = make.corpus("sea", TEXTS, heldout=TEXTS[:4])
    return yoriai_job("wide", Pieces(count=12, fewest=2), [corpus, old])


def test_pieces_shorten_held_out_text_and_old_ids_keep_their_meaning(old, wide):
    before, after = pieces_of(old), pieces_of(wide)
    assert all(after.token_to_id(piece) == place for piece, place in before.get_vocab().items())
    told = wide.facts["fertility"]["sea"]
    assert told["after"]["bytes_per_token"] > told["before"]["bytes_per_token"]
    assert wide.facts["added"] == after.get_vocab_size() - before.get_vocab_size() == 12
    for text in TEXTS[:2]:
        assert after.decode(after.encode(text, add_special_tokens=False).ids) == text


def test_the_page_shows_bytes_a_token_before_and_after(wide):
    from yoriai_domain_adapt.steps.sections import describe

    wide.manifest["step"] = "domain-adapt/pieces"
    [section] = describe(wide)
    rates = section.figures[0].series
    assert dict(rates["after"])["sea"] > dict(rates["before"])["sea"]


def test_no_pieces_at_all_is_the_models_own_tokenizer(make, old, yoriai_job):
    same = yoriai_job("own", Pieces(count=0), [make.corpus("sea", TEXTS, heldout=TEXTS[:2]), old])
    assert pieces_of(same).get_vocab() == pieces_of(old).get_vocab()


def test_a_new_row_is_the_mean_of_the_rows_that_spelled_it(old, wide, yoriai_job):
    made = yoriai_job("more", Vocab(), [old, wide])
    before, after = matrix(old), matrix(made)
    assert torch.equal(after[: len(before)], before)
    speller, speaker = pieces_of(old), pieces_of(wide)
    for place in range(len(before), len(after)):
        text = speaker.decode([place])
        ids = speller.encode(text, add_special_tokens=False).ids
        assert torch.allclose(after[place], before[ids].mean(0), atol=1e-6)


def test_a_donor_that_is_a_rotated_self_gives_back_the_rows_it_knows(make, wide, yoriai_job):
    # Oracle: the donor's space is ours turned by an orthogonal matrix. A row of the donor that is a
    # sum of two shared rows must come back as the sum of the same two of ours.
    from yoriai_domain_adapt.arithmetic import matching

    generator = torch.Generator().manual_seed(0)
    own = torch.randn(60, 32, generator=generator)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0]
    wanted = own[[3, 17, 40]] + 0.5 * own[[8, 9, 41]]
    found = matching.transplant(wanted @ turn, own @ turn, own, atoms=4)
    assert torch.allclose(found, wanted, atol=1e-4)


def test_training_the_new_rows_changes_no_other(make, old, wide, yoriai_job):
    tokens = make.many_tokens(4000, wide.facts["pieces"])
    step = Vocab(rows=NewRowTraining(steps=3, batch=2, length=32))
    made, still = (
        yoriai_job("more", step, [old, wide, tokens]),
        yoriai_job("mean", Vocab(), [old, wide]),
    )
    size = len(matrix(old))
    assert torch.equal(matrix(made)[:size], matrix(old))
    assert not torch.equal(matrix(made)[size:], matrix(still)[size:])


def test_rows_are_not_trained_without_text(old, wide, yoriai_job):
    with pytest.raises(UsageError, match="no tokens are under 'from'"):
        yoriai_job("more", Vocab(rows=NewRowTraining(steps=1)), [old, wide])


def test_tokenizers_that_share_nothing_and_a_missing_donor_are_refused(old, wide, yoriai_job):
    with pytest.raises(UsageError, match="omp takes two models") as caught:
        yoriai_job("more", Vocab(init="omp"), [old, wide])
    assert "DONOR" in caught.value.hint


def test_a_tokenizer_larger_than_its_embedding_is_refused(make, wide, yoriai_job):
    small = make.model()  # 100 rows
    (small.path / "tokenizer.json").write_bytes((wide.path / "tokenizer.json").read_bytes())
    with pytest.raises(UsageError, match="its tokenizer has"):
        yoriai_job("more", Vocab(), [small, wide])


def test_a_gate_that_nothing_measures_is_no_gate(old, wide, yoriai_job):
    with pytest.raises((UsageError, Refused), match="nothing under 'from' measures it"):
        yoriai_job("more", Vocab(gate=Tolerance(bits_per_byte=0.1)), [old, wide])
