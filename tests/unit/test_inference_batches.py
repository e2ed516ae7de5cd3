import hypothesis
from hypothesis import strategies as st

from enrich.inference.batches import BUCKETS, decompose

buckets = st.sets(st.integers(2, 64), max_size=5).map(lambda more: tuple(sorted({1, *more})))


@hypothesis.given(st.integers(0, 300), buckets)
def test_sizes_are_buckets_and_sum_up(count, buckets):
    sizes = decompose(count, buckets)

    assert sum(sizes) == count
    assert set(sizes) <= set(buckets)
    assert sizes == sorted(sizes, reverse=True)


@hypothesis.given(st.integers(1, 300))
def test_the_first_size_is_the_largest_that_is_filled(count):
    assert decompose(count)[0] == max(bucket for bucket in BUCKETS if bucket <= count)


def test_thirteen():
    assert decompose(13) == [8, 4, 1]


def test_a_fixed_batch_of_one():
    assert decompose(3, (1,)) == [1, 1, 1]
