# SPDX-License-Identifier: Apache-2.0
"""A DEL overtakes an ADD, and then there is nothing to wire."""

import threading
from concurrent import futures

import pytest
from guards import guard

from kuryr_sriov import TransientError
from kuryr_sriov_daemon.node.sandboxes import Sandboxes


@pytest.fixture
def sandboxes():
    return guard(Sandboxes(), '_sandboxes')


def test_an_add_alone_goes_on(sandboxes):
    with sandboxes.adding('a') as adding:
        adding.check()
        with adding.alone(60):
            pass


def test_a_del_ends_the_adds_that_came_before(sandboxes):
    with sandboxes.adding('a') as first, sandboxes.adding('b') as other:
        with sandboxes.deleting('a', 60):
            pass
        with pytest.raises(TransientError, match='deleted this sandbox'):
            first.check()
        with pytest.raises(TransientError), first.alone(60):
            pytest.fail('it was deleted')
        with sandboxes.adding('a') as later:
            later.check()
        other.check()


def test_a_del_waits_until_an_add_has_wired(sandboxes):
    wiring, go_on = threading.Event(), threading.Event()
    order = []

    def add():
        with sandboxes.adding('a') as adding, adding.alone(60):
            wiring.set()
            go_on.wait()
            order.append('wired')

    def delete():
        with sandboxes.deleting('a', 60):
            order.append('deleted')

    with futures.ThreadPoolExecutor() as threads:
        added = threads.submit(add)
        wiring.wait()
        deleted = threads.submit(delete)
        go_on.set()
        added.result()
        deleted.result()
    assert order == ['wired', 'deleted']


def test_an_add_that_waits_for_its_turn_finds_that_it_was_deleted(sandboxes):
    deleting, go_on = threading.Event(), threading.Event()

    def delete():
        with sandboxes.deleting('a', 60):
            deleting.set()
            go_on.wait()

    def wire(adding):
        with adding.alone(60):
            pytest.fail('it was deleted')

    with futures.ThreadPoolExecutor() as threads:
        with sandboxes.adding('a') as adding:
            deleted = threads.submit(delete)
            deleting.wait()
            wired = threads.submit(wire, adding)
            go_on.set()
            with pytest.raises(TransientError):
                wired.result()
        deleted.result()


def test_nothing_is_kept_of_sandboxes_that_are_done():
    sandboxes = Sandboxes()
    with sandboxes.adding('a'), sandboxes.deleting('a', 60):
        assert sandboxes._sandboxes
    assert not sandboxes._sandboxes


def test_the_end_of_one_is_not_the_end_of_all_that_use_it(sandboxes):
    """A retry may come while the first ADD still waits, and end sooner."""
    with sandboxes.adding('a') as first:
        with sandboxes.adding('a'):
            pass
        with sandboxes.deleting('a', 60):
            pass
        with pytest.raises(TransientError, match='deleted this sandbox'):
            first.check()


def test_nobody_waits_without_end(sandboxes):
    with sandboxes.adding('a') as adding, adding.alone(60):
        with (
            pytest.raises(TransientError, match=r'for 0\.01 s'),
            sandboxes.deleting('a', 0.01),
        ):
            pytest.fail('it is being wired')
        with sandboxes.deleting('b', 0.01):
            pass
