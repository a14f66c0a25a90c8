"""When two tokenizers cut a text differently, and when that is no difference."""

from yoriai_domain_adapt.measure.parity import differing

ONE = [[1, 2], [0, 3], [0, 4], [5]]
OTHER = [[1, 2], [1, 2], [1, 2], [9]]


def test_texts_cut_otherwise_are_named_and_ties_of_a_unigram_are_counted_apart():
    assert differing(ONE, OTHER) == ([1, 2, 3], 0)
    # 0 and 3 score as 1 and 2 do (-5); 0 and 4 do not; 9 has no score.
    assert differing(ONE, OTHER, [-1.0, -2.0, -3.0, -4.0, -4.5, -1.0]) == ([2, 3], 1)
