import sys

from retriever.serving.cache import AnswerCache
from retriever.serving.wire import QueryHits


def found(top_k, n_rows, size=100):
    return QueryHits(top_k, tuple(b"%d" % n + b"x" * size for n in range(n_rows)))


def test_an_answer_serves_as_many_hits_or_fewer():
    cache = AnswerCache(2**20)
    answer = found(5, 5)
    cache.put("q", answer)
    assert cache.get("q", 5) is answer
    assert cache.get("q", 1) is answer
    assert cache.get("q", 6) is None
    assert cache.get("other", 1) is None
    assert (cache.hits, cache.misses) == (2, 2)


def test_an_answer_with_all_there_is_serves_any_number_of_hits():
    cache = AnswerCache(2**20)
    cache.put("q", found(5, 2))
    assert cache.get("q", 1000) is not None


def test_what_was_not_used_for_longest_makes_room():
    cache = AnswerCache(10 * 2**10)
    for name in "abc":
        cache.put(name, found(1, 1, 3000))
    cache.get("a", 1)
    cache.put("d", found(1, 1, 3000))
    assert [cache.get(name, 1) is not None for name in "abcd"] == [True, False, True, True]
    assert (len(cache), cache.evictions) == (3, 1)


def test_a_replaced_answer_is_not_counted_twice():
    cache = AnswerCache(2**20)
    cache.put("q", found(3, 3))
    before = cache.bytes
    cache.put("q", found(9, 9))
    cache.put("q", found(3, 3))
    assert (cache.bytes, len(cache)) == (before, 1)


def test_what_is_larger_than_the_cache_is_not_kept():
    for size in (0, 1000):
        cache = AnswerCache(size)
        cache.put("q", found(1, 1, 5000))
        assert (len(cache), cache.bytes, cache.evictions) == (0, 0, 0)


def test_the_bytes_are_those_of_all_objects():
    cache = AnswerCache(2**30)
    for n in range(1000):
        cache.put(f"query number {n}", found(3, 3, 50))
    held = sys.getsizeof(cache._answers)
    for query, answer in cache._answers.items():
        objects = [query, answer, answer.rows, *answer.rows]
        held += sum(map(sys.getsizeof, objects)) + 40  # the linked list's node
    assert 0.9 < cache.bytes / held < 1.1
