# SPDX-License-Identifier: Apache-2.0
"""A port object is as it was written last, by us or by whoever came after."""

import pytest
from guards import guard

from kuryr_sriov import Change, Pod, PortObject
from kuryr_sriov_daemon.controller.portcache import PortObjects

UID = 'uid-web'


def version(number, uid=UID):
    return PortObject(Pod('ns', 'web', uid), resource_version=str(number))


@pytest.fixture
def watched():
    """What the watch has told so far, by uid."""
    return {}


@pytest.fixture
def ports(watched):
    ports = guard(PortObjects(), '_written', '_gone')
    ports.read_from(watched)
    return ports


def test_before_the_watch_there_is_what_was_written():
    ports = PortObjects()
    assert ports.get(UID) is None
    assert ports.put(version(3)) == version(3)
    assert ports.get(UID) == version(3)


@pytest.mark.parametrize(('written', 'told'), [(9, 10), (10, 9), (9, 9)])
def test_the_newer_one_counts(ports, watched, written, told):
    """Revisions are numbers: 10 is after 9."""
    ports.put(version(written))
    watched[UID] = version(told)
    assert ports.get(UID) == version(max(written, told))


def test_what_is_gone_is_gone_though_the_watch_still_has_it(ports, watched):
    watched[UID] = version(3)
    ports.put(version(4))
    ports.drop(UID)
    assert ports.get(UID) is None


def test_what_is_made_again_after_it_was_gone_is_there(ports, watched):
    watched[UID] = version(3)
    ports.drop(UID)
    ports.put(version(5))
    assert ports.get(UID) == version(5)


@pytest.mark.parametrize('deleted', [True, False])
def test_what_somebody_else_makes_again_is_there(ports, watched, deleted):
    """Once the watch has told that the first one is gone."""
    old = watched[UID] = version(3)
    ports.drop(UID)
    del watched[UID]
    ports.take_in(Change(UID, old, None, deleted))
    watched[UID] = version(7)
    ports.take_in(Change(UID, None, version(7)))
    assert ports.get(UID) == version(7)


def test_what_the_watch_never_had_is_not_kept_as_gone(ports, watched):
    ports.put(version(3))
    ports.drop(UID)
    watched[UID] = version(4)
    assert ports.get(UID) == version(4)


def test_a_deletion_that_is_told_ends_what_was_written(ports):
    ports.put(version(3))
    ports.take_in(Change(UID, version(3), None, deleted=True))
    assert ports.get(UID) is None


def test_being_missing_in_a_list_is_no_proof(ports):
    """The list may be older than what was written."""
    ports.put(version(3))
    ports.take_in(Change(UID, version(2), None))
    assert ports.get(UID) == version(3)


@pytest.mark.parametrize(('told', 'kept'), [(2, 3), (3, None), (4, None)])
def test_what_the_watch_has_is_not_kept_twice(ports, told, kept):
    ports.put(version(3))
    ports.take_in(Change(UID, None, version(told)))
    assert ports.get(UID) == (kept and version(kept))


def test_others_are_left_alone(ports, watched):
    watched['uid-other'] = version(1, 'uid-other')
    watched[UID] = version(2)
    ports.put(version(3))
    ports.drop(UID)
    assert ports.get('uid-other') == version(1, 'uid-other')
