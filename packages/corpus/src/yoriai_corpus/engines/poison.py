"""Records that killed the process that worked on them.

A library in C can crash on one page out of a billion. The engine starts the task again, and
a record that was being worked on at three deaths is not tried a fourth time: whoever reads
records (:mod:`yoriai_corpus.sources.files`) and whoever judges them
(:mod:`yoriai_corpus.build.partition`) passes over the positions named here, and the record is
quarantined with :data:`REASON`.
"""

from __future__ import annotations

DEATHS = 3
REASON = f"killed the process that worked on it {DEATHS} times"

# Positions in the partition being read now: the first record that a source gives is 0.
# Set by partition.process before it reads, in the process that works on the task.
positions: frozenset[int] = frozenset()
