# SPDX-License-Identifier: Apache-2.0
"""Workers are shared out among lanes, slow ones last."""

import pytest

from kuryr_sriov_daemon import lanes as module
from kuryr_sriov_daemon.lanes import Lanes


@pytest.fixture
def lanes():
    return Lanes(8)


def make_slow(lanes, *names):
    for name in names:
        assert lanes.enter(name, f'{name}0')
        lanes.leave(name, slow=True)
        assert lanes.release() == []


def test_a_lane_of_which_nothing_is_known_has_a_quarter(lanes):
    """For all of it may hang."""
    begun = [lanes.enter('a', number) for number in range(4)]
    assert begun == [True] * 2 + [False] * 2
    assert all(lanes.enter(name, name) for name in 'bcd')


def test_each_success_gives_a_lane_one_more_but_never_all(lanes):
    waiting = [n for n in range(20) if not lanes.enter('a', n)]
    together = []
    while waiting:
        lanes.leave('a', slow=False)
        begun = lanes.release()
        assert begun == waiting[: len(begun)]
        assert all(lanes.enter('a', number) for number in begun)
        del waiting[: len(begun)]
        together.append(lanes._lanes['a'].busy)
    assert together[:6] == [3, 4, 5, 6, 6, 6]
    assert max(together) == 6
    assert lanes.enter('b', 'other')


def test_a_slow_lane_has_one_worker_until_something_succeeds(lanes):
    make_slow(lanes, 'a')
    begun = [lanes.enter('a', number) for number in range(4)]
    assert begun == [True, False, False, False]
    lanes.leave('a', slow=True)
    assert lanes.release() == [1]
    assert lanes.enter('a', 1)
    lanes.leave('a', slow=False)
    assert lanes.release() == [2, 3]  # two, since it was well once


def test_what_says_nothing_of_a_lane_leaves_it_as_it_was(lanes):
    make_slow(lanes, 'a')
    assert lanes.enter('a', 0)
    lanes.leave('a', slow=None)
    assert lanes.enter('a', 1)
    assert not lanes.enter('a', 2)


def test_slow_lanes_together_have_half_of_the_workers(lanes):
    names = [f'slow{number}' for number in range(20)]
    make_slow(lanes, *names)
    begun = [name for name in names if lanes.enter(name, name)]
    assert begun == names[:4]
    assert all(lanes.enter(f'well{number}', number) for number in range(4))
    lanes.leave('slow0', slow=True)
    assert lanes.release() == ['slow4']
    assert lanes.enter('slow4', 'slow4')
    lanes.leave('slow1', slow=False)
    lanes.leave('slow2', slow=True)
    assert lanes.release() == ['slow5', 'slow6']


def test_not_shared_out_everybody_has_a_worker():
    lanes = Lanes()
    make_slow(lanes, 'a')
    assert all(lanes.enter('b', number) for number in range(100))


def test_of_one_worker_each_lane_may_have_it():
    lanes = Lanes(1)
    make_slow(lanes, 'a')
    assert lanes.enter('a', 1)
    lanes.leave('a', slow=True)
    assert lanes.enter('b', 1)


def test_slow_lanes_are_not_remembered_without_end(lanes, monkeypatch):
    monkeypatch.setattr(module, 'MOST_REMEMBERED', 3)
    make_slow(lanes, *(f'slow{number}' for number in range(10)))
    assert lanes.enter('well', 0)
    lanes.leave('well', slow=False)
    assert sorted(lanes._lanes) == ['slow7', 'slow8', 'slow9']
