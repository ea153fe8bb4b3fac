# SPDX-License-Identifier: Apache-2.0
"""Threads wait for those with the same key, and for nobody else."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kuryr_sriov.clients.turns import KeyedLocks, SharedCalls
from kuryr_sriov.exceptions import ProviderUnavailable

PATIENCE = 30


def test_one_at_a_time_for_each_key():
    locks, inside, most = KeyedLocks(), [0], [0]
    start = threading.Barrier(8)

    def work():
        start.wait(PATIENCE)
        for _ in range(50):
            with locks.hold('a'):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(work) for _ in range(8)]:
            each.result(PATIENCE)
    assert most == [1]


def test_another_key_does_not_wait():
    locks, held, done = KeyedLocks(), threading.Event(), threading.Event()

    def holder():
        with locks.hold('a'):
            held.set()
            assert done.wait(PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(holder)
        assert held.wait(PATIENCE)
        with locks.hold('b'):
            done.set()
        waiting.result(PATIENCE)


def test_the_holder_keeps_others_out_until_it_ends():
    locks, held, go = KeyedLocks(), threading.Event(), threading.Event()
    order = []

    def holder():
        with locks.hold('a'):
            held.set()
            assert go.wait(PATIENCE)
            order.append('first')

    def follower():
        with locks.hold('a'):
            order.append('second')

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(holder)
        assert held.wait(PATIENCE)
        second = pool.submit(follower)
        go.set()
        first.result(PATIENCE)
        second.result(PATIENCE)
    assert order == ['first', 'second']


def test_nothing_is_kept_of_keys_that_nobody_uses():
    locks = KeyedLocks()
    for key in range(100):
        with locks.hold(key), locks.hold(str(key)):
            assert len(locks) == 2
    with pytest.raises(ZeroDivisionError), locks.hold('a'):
        1 / 0  # noqa: B018
    assert len(locks) == 0


class Slow:
    """A call that is held until all who share it are there."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.count = 0
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.count += 1
        self.began.set()
        assert self.go.wait(PATIENCE)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Key:
    """Tells of each look at whether there is a call for it already."""

    def __init__(self):
        self.looks = threading.Semaphore(0)

    def __hash__(self):
        self.looks.release()
        return 1


def shared_by(calls, slow, number):
    """The futures of as many threads, all of which have found the call."""
    key, pool = Key(), ThreadPoolExecutor(number)
    futures = [pool.submit(calls.share, key, slow)]
    assert slow.began.wait(PATIENCE)
    assert key.looks.acquire(timeout=PATIENCE)  # whether there is one
    assert key.looks.acquire(timeout=PATIENCE)  # now there is
    for _ in range(number - 1):
        futures.append(pool.submit(calls.share, key, slow))
        assert key.looks.acquire(timeout=PATIENCE)
    pool.shutdown(wait=False)
    return futures


def test_one_call_serves_all_who_ask_meanwhile():
    calls, slow = SharedCalls(), Slow('answer')
    futures = shared_by(calls, slow, 8)
    assert calls.share('b', lambda: 'other') == 'other'
    slow.go.set()
    assert [f.result(PATIENCE) for f in futures] == ['answer'] * 8
    assert slow.count == 1


def test_an_error_is_everybodys_and_nobody_waits_again():
    calls = SharedCalls()
    slow = Slow(ProviderUnavailable('away', 7.0))
    futures = shared_by(calls, slow, 8)
    slow.go.set()
    errors = [f.exception(PATIENCE) for f in futures]
    assert slow.count == 1
    assert [str(error) for error in errors] == ['away'] * 8
    assert {error.retry_after for error in errors} == {7.0}
    assert len({id(error) for error in errors}) == len(errors)


def test_the_next_one_calls_again():
    calls = SharedCalls()
    answers = iter((1, 2))
    assert calls.share('a', lambda: next(answers)) == 1
    with pytest.raises(KeyError):
        calls.share('a', lambda: {}['absent'])
    assert calls.share('a', lambda: next(answers)) == 2
