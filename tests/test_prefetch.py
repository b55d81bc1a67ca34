"""What comes next is fetched meanwhile, once, in order; errors arrive where they are asked for."""

import threading

import pytest
import torch

from nearfar.prefetch import Prefetcher


def test_results_come_in_order_and_each_key_is_fetched_once():
    asked = []

    def fetch(key):
        asked.append(key)
        return 2 * key

    with Prefetcher(fetch) as prefetcher:
        assert list(prefetcher.walk(range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert asked == list(range(7))


def test_the_following_are_begun_before_they_are_asked_for():
    begun = threading.Event()

    def fetch(key):
        if key == 1:
            begun.set()
        return key

    with Prefetcher(fetch) as prefetcher:
        assert prefetcher.get(0, [1]) == 0
        assert begun.wait(5)
        assert prefetcher.get(5) == 5  # what was begun is given up
        assert prefetcher.get(1) == 1


def test_the_thread_leaves_the_caller_s_threads_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Prefetcher(lambda _: torch.get_num_threads()) as prefetcher:
            assert prefetcher.get(0) == 1
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_is_raised_where_its_result_is_asked_for():
    with Prefetcher(lambda key: 1 // key) as prefetcher:
        assert prefetcher.get(1, [0]) == 1
        with pytest.raises(ZeroDivisionError):
            prefetcher.get(0)
        assert prefetcher.get(1) == 1
