from __future__ import annotations

import gc
import itertools
import threading

import pytest
import torch

from featherlight.loading.prefetch import prefetch


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_the_order_of_their_jobs(threads):
    turn = [threading.Event() for _ in range(20)]
    turn[1].set()

    def finish_odd_before_even(number: int) -> int:
        if threads > 1 and number % 2 == 0:
            turn[number + 1].wait(10)
        turn[number].set()
        return number * number

    assert list(prefetch(range(20), finish_odd_before_even, threads)) == [n * n for n in range(20)]


def test_no_more_is_prepared_than_the_bound():
    taken = []

    def jobs():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = prefetch(jobs(), lambda number: number, threads=2, ahead=3)
    for k in range(5):
        assert next(results) == k
        assert len(taken) == k + 4  # three ahead, and the one that was handed out
    results.close()


def test_work_goes_on_while_a_result_is_used():
    begun = threading.Event()

    def prepare(number: int) -> int:
        if number == 1:
            begun.set()
        return number

    results = prefetch(range(3), prepare, threads=1)
    next(results)
    assert begun.wait(10)  # nobody has asked for it yet
    assert list(results) == [1, 2]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_is_raised_in_its_place_in_the_order(threads):
    def prepare(number: int) -> int:
        if number == 2:
            raise ValueError("broken")
        return number

    results = prefetch(range(5), prepare, threads)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="broken"):
        next(results)
    assert prefetch_threads() == []


def test_an_error_of_the_jobs_is_raised_after_what_came_before_it():
    def jobs():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(prefetch(jobs(), lambda number: number, 1))
    assert prefetch_threads() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_thread_is_left_behind_when_the_user_of_the_results_fails(error):
    def use() -> None:
        for _ in prefetch(itertools.count(), lambda number: number, 2):
            raise error

    with pytest.raises(error):
        use()
    gc.collect()
    assert prefetch_threads() == []


def test_no_thread_is_left_behind_when_the_rest_is_not_wanted():
    results = prefetch(itertools.count(), lambda number: number, 2)
    next(results)
    assert prefetch_threads() != []
    results.close()
    assert prefetch_threads() == []


def test_threads_compute_on_one_core_and_the_caller_on_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(prefetch(range(8), lambda _: torch.get_num_threads(), 2)) == {1}
        assert torch.get_num_threads() == 2
        assert next(prefetch([0], lambda _: torch.get_num_threads(), 0)) == 2
        seen = []
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)
