# SPDX-License-Identifier: Apache-2.0
"""Who acts, whatever clocks, conflicts and API servers do."""

import threading
import types

import pytest

from kuryr_sriov import ResourceConflict, TransientError
from kuryr_sriov_daemon import leadership
from kuryr_sriov_daemon.leadership import Leadership, Timing


class Leases:
    """The API server's Lease, with resource versions that are checked."""

    def __init__(self):
        self.lease = None
        self.away = False
        self.version = 0

    def read(self, session, namespace, name):
        self._answer()
        return self.lease

    def write(self, session, lease):
        self._answer()
        given = lease['metadata'].get('resourceVersion')
        now = self.lease and self.lease['metadata']['resourceVersion']
        if given != now:
            raise ResourceConflict('it has changed')
        self.version += 1
        metadata = {**lease['metadata'], 'resourceVersion': str(self.version)}
        self.lease = {'metadata': metadata, 'spec': lease['spec']}

    def _answer(self):
        if self.away:
            raise TransientError('no answer')

    @property
    def holder(self):
        return self.lease['spec']['holderIdentity']


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(leadership.time, 'monotonic', made.monotonic)
    return made


@pytest.fixture
def leases(monkeypatch):
    made = Leases()
    monkeypatch.setattr(leadership, 'read_lease', made.read)
    monkeypatch.setattr(leadership, 'write_lease', made.write)
    return made


class Candidate(Leadership):
    """Looks at the lease when the test says so."""

    def __init__(self, name):
        timing = Timing(duration=15, deadline=10, period=0)
        super().__init__(None, 'ns', 'lease', name, timing)

    def look(self):
        return self._try_to_lead()


@pytest.fixture
def pair(clock, leases):
    return Candidate('one'), Candidate('two')


def test_the_first_to_come_leads(pair, leases):
    one, two = pair
    assert one.look()
    assert not two.look()
    assert (one.is_leader(), two.is_leader()) == (True, False)
    assert leases.holder == 'one'


def test_a_holder_that_renews_keeps_it(pair, clock):
    one, two = pair
    for _ in range(10):
        assert one.look()
        assert not two.look()
        clock.now += 9


def test_a_holder_that_is_silent_loses_it_after_the_duration(pair, clock):
    one, two = pair
    one.look()
    two.look()
    clock.now += 14.9
    assert not two.look()
    clock.now += 0.2
    assert two.look()
    assert not one.look()


def test_a_holder_stops_acting_before_another_may_begin(pair, clock, leases):
    one, two = pair
    one.look()
    two.look()
    leases.away = True
    clock.now += 9.9
    assert one.look()
    clock.now += 0.2
    assert not one.look()
    leases.away = False
    assert not two.look()


def test_a_wait_for_the_answer_counts(pair, clock, leases):
    """The lease is as old as the request, not as its answer."""
    one, _ = pair
    answer = leases.write

    def answer_late(session, lease):
        answer(session, lease)
        clock.now += 11

    leases.write = answer_late
    leadership.write_lease = answer_late
    assert not one.look()


def test_another_clock_does_not_matter(pair, clock, leases):
    """Not the time in the lease counts, but when it was seen to change."""
    one, two = pair
    one.look()
    leases.lease['spec']['renewTime'] = '1970-01-01T00:00:00.000000Z'
    assert not two.look()


def test_of_two_that_take_it_at_once_one_gets_it(pair, clock, leases):
    one, two = pair
    read = leases.lease
    assert one.look()
    leases.read = lambda *_: read
    leadership.read_lease = leases.read
    assert not two.look()
    assert leases.holder == 'one'


def test_what_is_given_up_can_be_had_at_once(pair, leases):
    one, two = pair
    one.look()
    one.give_up()
    assert not one.is_leader()
    assert leases.holder == ''
    assert two.look()
    one.give_up()
    assert leases.holder == 'two'


def test_what_another_holds_by_now_is_not_given_up(pair, leases):
    """It was taken by hand, and we have not looked since."""
    one, _ = pair
    one.look()
    leases.lease['spec']['holderIdentity'] = 'kubectl'
    one.give_up()
    assert leases.holder == 'kubectl'
    assert not one.is_leader()


def test_a_lease_that_is_gone_is_not_made_to_be_given_up(pair, leases):
    one, _ = pair
    one.look()
    leases.lease = None
    one.give_up()
    assert leases.lease is None


def test_giving_up_to_an_api_server_that_is_away(pair, leases, caplog):
    one, _ = pair
    one.look()
    leases.away = True
    one.give_up()
    assert not one.is_leader()
    assert 'ends by itself' in caplog.text


def test_a_lease_that_somebody_took_is_lost(pair, leases):
    one, _ = pair
    one.look()
    leases.lease['spec']['holderIdentity'] = 'kubectl'
    assert not one.look()


def test_each_taking_over_is_counted(pair, clock, leases):
    one, two = pair
    one.look()
    one.look()
    one.give_up()
    two.look()
    spec = leases.lease['spec']
    assert spec['leaseTransitions'] == 2
    assert spec['leaseDurationSeconds'] == 15


def test_it_waits_for_its_turn_and_keeps_it(leases):
    one = Leadership(None, 'ns', 'l', 'one', Timing(0.4, 0.3, 0.02))
    assert one.wait_for_lease()
    keeping = threading.Thread(target=one.renew_until_lost)
    keeping.start()
    leases.away = True
    keeping.join(10)
    assert not keeping.is_alive()
    assert not one.is_leader()


def test_between_two_looks_it_waits_about_its_period(pair, leases):
    one, two = pair
    one.look()
    two._timing = Timing(period=10)
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 20:
            two.stop()

    stopping = two._stopping
    two._stopping = types.SimpleNamespace(
        wait=wait, set=stopping.set, is_set=stopping.is_set
    )
    assert not two.wait_for_lease()
    assert len(waits) == 20
    # replicas that were started together do not ask at the same time for ever
    assert all(8 <= seconds <= 12 for seconds in waits)
    assert len(set(waits)) > 1


def test_a_candidate_that_is_stopped_does_not_lead(leases):
    one = Leadership(None, 'ns', 'l', 'one', Timing(0.4, 0.3, 0.02))
    one.stop()
    assert not one.wait_for_lease()
    assert one.is_alive()


def test_the_time_before_the_first_look_is_no_hang(clock, leases):
    one = Leadership(None, 'ns', 'l', 'one')
    clock.now += 600
    assert one.is_alive()
    one._try_to_lead()
    clock.now += 600
    assert not one.is_alive()
