"""Merkle trees, by the published test vectors and by the definition of RFC 9162."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import merkle

# The lists of Certificate Transparency's reference tests, and their roots.
ITEMS = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_roots_are_those_of_the_published_vectors(count: int) -> None:
    assert merkle.root_of(ITEMS[:count]).hex() == ROOTS[count]


def by_definition(items: list[bytes]) -> bytes:
    if len(items) < 2:
        return hashlib.sha256(b"\0" + items[0] if items else b"").digest()
    half = 1 << (len(items) - 1).bit_length() - 1
    left, right = by_definition(items[:half]), by_definition(items[half:])
    return hashlib.sha256(b"\1" + left + right).digest()


@given(items=st.lists(st.binary(max_size=3), max_size=40), data=st.data())
def test_a_proof_leads_to_the_root_and_to_no_other(items: list[bytes], data: st.DataObject) -> None:
    root = by_definition(items)
    assert merkle.root_of(items) == root
    if not items:
        return
    index = data.draw(st.integers(0, len(items) - 1))
    proof = merkle.inclusion_proof(items, index)
    assert merkle.root_by_proof(items[index], index, len(items), proof) == root
    assert merkle.root_by_proof(items[index] + b"x", index, len(items), proof) != root
    assert merkle.root_by_proof(items[index], index, len(items), [*proof, bytes(32)]) != root
    if proof:
        assert merkle.root_by_proof(items[index], index, len(items), proof[:-1]) != root
        flipped = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
        assert merkle.root_by_proof(items[index], index, len(items), flipped) != root
    other = data.draw(st.integers(0, len(items) - 1))
    if items[other] != items[index]:
        assert merkle.root_by_proof(items[index], other, len(items), proof) != root


def test_what_is_no_item_has_no_proof() -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(ITEMS, 8)
    assert merkle.root_by_proof(b"", 1, 1, []) is None
    assert merkle.root_by_proof(b"", -1, 1, []) is None
