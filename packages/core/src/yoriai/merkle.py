"""Merkle trees of RFC 9162 (section 2.1) over SHA-256: one digest for a list, proofs for items.

The hash of a leaf is SHA-256 of a zero byte and the item, that of a node SHA-256 of a one byte and
its two children; a list of ``n`` is split at the largest power of two below ``n``. A proof that an
item is in a list of a million is twenty digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32


def leaf_hash(item: bytes) -> bytes:
    return hashlib.sha256(b"\0" + item).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(items: Iterable[bytes]) -> bytes:
    """The root of a list, read once; of an empty list the hash of nothing."""
    peaks: list[bytes] = []  # of whole subtrees, the largest first
    for bits, item in enumerate(items):
        here = leaf_hash(item)
        for _ in range((~bits & bits + 1).bit_length() - 1):  # whole subtrees that end here
            here = node_hash(peaks.pop(), here)
        peaks.append(here)
    if not peaks:
        return hashlib.sha256(b"").digest()
    here = peaks.pop()
    while peaks:
        here = node_hash(peaks.pop(), here)
    return here


def inclusion_proof(items: Sequence[bytes], index: int) -> list[bytes]:
    """The digests that lead from an item to the root (RFC 9162, 2.1.3.1), the lowest first."""
    if not 0 <= index < len(items):
        raise IndexError(f"item {index} of {len(items)}")
    level = [leaf_hash(item) for item in items]
    proof = []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            proof.append(level[beside])
        pairs = [node_hash(level[n], level[n + 1]) for n in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1 :]
        index >>= 1
    return proof


def root_by_proof(item: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to (RFC 9162, 2.1.3.2); None if it cannot be a proof."""
    if not 0 <= index < size:
        return None
    here, last, step = leaf_hash(item), size - 1, index
    for digest in proof:
        if last == 0 or len(digest) != HASH_BYTES:
            return None
        if step & 1 or step == last:
            here = node_hash(digest, here)
            while not step & 1 and step:
                step, last = step >> 1, last >> 1
        else:
            here = node_hash(here, digest)
        step, last = step >> 1, last >> 1
    return here if last == 0 else None
