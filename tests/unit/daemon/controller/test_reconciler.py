# SPDX-License-Identifier: Apache-2.0
"""What one pod needs, whatever was done of it before."""

import dataclasses
import itertools

import pytest
from guards import guard

from kuryr_sriov import (
    Change,
    Condition,
    InvalidAnnotation,
    Location,
    NetworkMissing,
    Pod,
    Policy,
    PortObject,
    ProviderUnavailable,
    ReportedAttachment,
    Vif,
)
from kuryr_sriov.codec import to_json
from kuryr_sriov_daemon.controller.pods import NETWORKS, keep_pod
from kuryr_sriov_daemon.controller.portcache import PortObjects
from kuryr_sriov_daemon.controller.reconciler import Reconciler, View

FINALIZER = 'openstack.org/kuryr-sriov'
POD = Pod('ns', 'web', 'uid-web', 'node-1')
VIF = Vif('id-1', 'net1', 'ns/a', 'x/a', 'physnet22', 'fa:16:3e:00:00:01')


def kept(networks='a', **changes):
    body = {
        'metadata': {
            'namespace': 'ns',
            'name': 'web',
            'uid': 'uid-web',
            'annotations': {NETWORKS: networks},
        },
        'spec': {'nodeName': 'node-1'},
    }
    found = keep_pod(body)
    assert found is not None
    return dataclasses.replace(found, **changes)


class Server:
    """The API server's port objects; what it was asked is in ``calls``."""

    def __init__(self):
        self.ports = {}
        self.pods = {}
        self.calls = []
        self._versions = itertools.count(1)

    def get(self, uid):
        return self.ports.get(uid)

    def publish(self, pod, vifs, request):
        self.calls.append('publish')
        old = self.ports.get(pod.uid, PortObject(pod))
        return self._put(
            old,
            vifs_json=to_json(tuple(vifs)),
            request=request,
            finalizers=(FINALIZER,),
        )

    def record(self, pod, conditions, activated):
        self.calls.append('record')
        old = self.ports[pod.uid]
        theirs = {k: v for k, v in old.conditions.items() if k == 'Attached'}
        return self._put(
            old, conditions=theirs | dict(conditions), activated=activated
        )

    def report(self, *pcis, found=''):
        """As the node does.

        :param found: the port that it has found for a promise.
        """
        old = self.ports['uid-web']
        attachments = tuple(
            ReportedAttachment(
                vif.ifname,
                vif.id or found,
                Location('node-1', pci, '8086:10ca', vif.physnet),
            )
            for vif, pci in zip(old.vifs, pcis, strict=False)
        )
        self._put(old, attachments=attachments)

    def find(self, **found):
        """As a node that is a VM does, and asks."""
        self._put(self.ports['uid-web'], found=found)

    def delete_port_object(self, port):
        self.calls.append('delete')
        if port.pod.uid not in self.ports:
            return None
        return self._put(self.ports[port.pod.uid], deleting=True)

    def remove_finalizer(self, port):
        self.calls.append('free')
        self.ports.pop(port.pod.uid, None)

    def get_pod(self, namespace, name):
        self.calls.append('get pod')
        return self.pods.get(name, {})

    def _put(self, port, **changes):
        version = str(next(self._versions))
        made = dataclasses.replace(port, resource_version=version, **changes)
        self.ports[port.pod.uid] = made
        return made


class Library:
    """Gives each pod one VIF; what it was asked is in ``calls``."""

    def __init__(self):
        self.calls = []
        self.error = None
        self.active = True
        self.vifs = (VIF,)
        self.publish = None

    def request(self, body):
        self.calls.append('request')
        if self.error:
            raise self.error
        if self.vifs:
            self.publish(POD, self.vifs)
        return self.vifs

    def complete(self, vif, port_id):
        self.calls.append(f'complete {port_id}')
        if self.error:
            raise self.error
        return dataclasses.replace(vif, id=port_id)

    def forget(self, pod_uid):
        """Nothing is remembered here."""

    def activate(self, pod, vif, location, *, wait):
        assert pod == POD
        assert not wait  # else a worker would
        self.calls.append(f'activate {location.pci_slot}')
        if self.error:
            raise self.error
        return dataclasses.replace(vif, active=self.active)

    def release(self, pod):
        assert pod == POD
        self.calls.append('release')
        if self.error:
            raise self.error


class Events:
    def __init__(self):
        self.told = []
        self.notes = []

    def tell(self, event):
        self.told.append(event.reason)
        self.notes.append(event.note)


class Scene:
    def __init__(self):
        self.server, self.library = Server(), Library()
        self.events, self.pods = Events(), {}
        ports = guard(PortObjects(), '_written', '_gone')
        ports.read_from(self.server)
        self.reconciler = guard(
            Reconciler(
                self.library, self.server, View(self.pods, ports), self.events
            ),
            '_unmet',
        )
        guard(self.reconciler._activation, '_silences', '_confirmed')
        self.library.publish = self.reconciler.publish
        self.now = 1000.0
        self.reconciler._activation._clock = lambda: self.now

    @property
    def silent(self):
        """Whom the provider is asked for, by pod."""
        return self.reconciler.list_silent(self.server.ports)

    def look(self):
        """Reconcile, and again: the second time does nothing."""
        self.reconciler.reconcile('uid-web')
        before = [*self.server.calls, *self.library.calls]
        self.reconciler.reconcile('uid-web')
        after = [*self.server.calls, *self.library.calls]
        if 'get pod' not in after:
            assert after == before

    @property
    def port(self):
        return self.server.ports.get('uid-web')

    def says(self, kind):
        found = self.port.conditions[kind]
        return found.status, found.reason


@pytest.fixture
def scene():
    return Scene()


def test_a_pod_is_promised_its_vifs(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    assert scene.port.vifs == (VIF,)
    assert scene.port.request == kept().digest
    assert scene.says('Requested') == ('True', 'Promised')
    assert scene.says('Active') == ('False', 'NotAttached')
    assert scene.server.calls == ['publish', 'record']


def test_what_is_reported_is_activated_once(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert scene.port.activated == {'id-1': '0000:02:10.0'}
    assert scene.library.calls == ['request', 'activate 0000:02:10.0']


def test_a_promise_is_activated_as_the_port_that_the_node_has_found(scene):
    """On a node that is a VM, whose VFs are ports already."""
    promised = dataclasses.replace(VIF, id='', mac='', provider_network='a')
    scene.library.vifs = (promised,)
    scene.pods['uid-web'] = kept()
    scene.look()
    assert scene.says('Active') == ('False', 'NotAttached')
    scene.server.report('0000:00:06.0', found='port-6')
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert scene.port.activated == {'port-6': '0000:00:06.0'}
    assert scene.port.vifs == (promised,)


def test_a_node_that_asks_gets_its_vif_completed_once(scene):
    promised = dataclasses.replace(VIF, id='', mac='', provider_network='a')
    scene.library.vifs = (promised,)
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.find(net1='port-6')
    scene.look()
    assert scene.port.vifs == (dataclasses.replace(promised, id='port-6'),)
    assert scene.port.request == kept().digest
    assert scene.library.calls == ['request', 'complete port-6']
    scene.server.report('0000:00:06.0')
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')


def test_what_a_node_asks_in_vain_it_is_told(scene):
    promised = dataclasses.replace(VIF, id='', mac='', provider_network='a')
    scene.library.vifs = (promised,)
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.find(net1='port-6')
    scene.library.error = InvalidAnnotation('port-6 is on network b')
    with pytest.raises(InvalidAnnotation):
        scene.look()
    assert scene.says('Requested')[0] == 'False'
    assert 'network b' in scene.port.conditions['Requested'].message
    scene.library.error = None
    scene.look()
    assert scene.says('Requested') == ('True', 'Promised')
    assert scene.port.vifs[0].id == 'port-6'


def test_no_port_is_told_of_that_was_made_for_the_pod(scene):
    """A node may write there what it likes."""
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.find(net1='port-of-others', net7='port-7')
    scene.look()
    assert scene.port.vifs == (VIF,)
    assert scene.library.calls == ['request']


def test_a_network_that_is_deleted_under_a_running_pod_changes_nothing(scene):
    """Nor does a restart in which nothing is remembered."""
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    before = scene.server.ports['uid-web']
    scene.library.error = NetworkMissing('there is no ns/a')
    scene.library.calls.clear()
    scene.look()
    assert scene.library.calls == []
    assert scene.server.ports['uid-web'] == before
    scene.library.error = None
    scene.pods['uid-web'] = kept(phase='Succeeded')
    scene.look()
    assert scene.library.calls == ['release']


def test_what_the_provider_confirms_soon_costs_no_write_more(scene):
    """As Neutron does, whose agents take a second or two."""
    scene.library.active = False
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    assert scene.says('Active') == ('False', 'NotAttached')
    assert scene.silent == {'uid-web': {'id-1'}}
    scene.reconciler.confirm(['id-1'])
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert scene.server.calls == ['publish', 'record', 'record']
    assert scene.library.calls == ['request', 'activate 0000:02:10.0']
    assert scene.silent == {}
    scene.reconciler.confirm([])
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')


def test_what_the_provider_does_not_confirm_for_long_is_told(scene):
    scene.library.active = False
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    scene.now += 9.9
    scene.look()
    assert scene.says('Active') == ('False', 'NotAttached')
    scene.now += 0.1
    scene.look()
    assert scene.says('Active') == ('Unknown', 'Unconfirmed')
    assert scene.port.activated == {'id-1': '0000:02:10.0'}
    assert scene.silent == {'uid-web': {'id-1'}}
    scene.reconciler.confirm(['id-1'])
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert scene.library.calls == ['request', 'activate 0000:02:10.0']


@pytest.mark.parametrize('timeout', [5.0, 30.0])
def test_a_vif_that_is_not_active_in_its_own_time_is_told(scene, timeout):
    """And heals by itself: the provider is asked on."""
    policy = Policy(active_timeout=timeout)
    scene.library.vifs = (dataclasses.replace(VIF, policy=policy),)
    scene.library.active = False
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    scene.now += timeout - 0.1
    scene.look()
    assert scene.events.told == []
    scene.now += 0.1
    scene.look()
    assert scene.says('Active') == ('Unknown', 'NotActive')
    note = scene.port.conditions['Active'].message
    assert {*scene.events.notes} == {note}
    assert note == (
        f'net1: the network provider has not said for {timeout:g} s that '
        'traffic flows: see whether its agent on host node-1 runs, and sees '
        'VF 0000:02:10.0 with MAC fa:16:3e:00:00:01 in use'
    )
    assert scene.silent == {'uid-web': {'id-1'}}
    scene.reconciler.confirm(['id-1'])
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert scene.library.calls == ['request', 'activate 0000:02:10.0']
    assert scene.silent == {}


def test_another_vf_that_is_not_confirmed_is_told_at_once(scene):
    """Else the pod would be said to be connected on the one it had."""
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    scene.library.active = False
    scene.server.report('0000:02:10.2')
    scene.look()
    assert scene.says('Active') == ('Unknown', 'Unconfirmed')
    assert scene.port.activated == {'id-1': '0000:02:10.2'}


def test_another_vf_in_the_silence_is_told_to_the_provider(scene):
    scene.library.active = False
    scene.pods['uid-web'] = kept()
    scene.look()
    for pci in ('0000:02:10.0', '0000:02:10.2'):
        scene.server.report(pci)
        scene.look()
    scene.reconciler.confirm(['id-1'])
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert scene.port.activated == {'id-1': '0000:02:10.2'}
    activated = scene.library.calls[1:]
    assert activated == ['activate 0000:02:10.0', 'activate 0000:02:10.2']


def test_of_a_pod_that_goes_in_the_silence_nothing_is_kept(scene):
    scene.library.active = False
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    assert scene.silent
    scene.pods['uid-web'] = kept(phase='Succeeded')
    scene.look()
    assert scene.server.ports == {}
    assert scene.silent == {}


def test_another_vf_is_told_as_well(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    for pci in ('0000:02:10.0', '0000:02:10.2'):
        scene.server.report(pci)
        scene.look()
    assert scene.port.activated == {'id-1': '0000:02:10.2'}
    scene.server.report()
    scene.look()
    assert scene.port.activated == {}
    assert scene.says('Active') == ('False', 'NotAttached')


def test_a_vif_that_cannot_be_activated_is_told_and_tried_again(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.library.error = ProviderUnavailable('not bound')
    with pytest.raises(ProviderUnavailable):
        scene.reconciler.reconcile('uid-web')
    assert scene.says('Active') == ('False', 'ProviderUnavailable')
    assert scene.events.told == ['ProviderUnavailable']
    scene.library.error = None
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')


def test_a_request_that_cannot_be_met_is_told_where_all_can_see_it(scene):
    scene.pods['uid-web'] = kept()
    scene.library.error = InvalidAnnotation('no such network')
    for _ in range(2):
        with pytest.raises(InvalidAnnotation):
            scene.reconciler.reconcile('uid-web')
    assert scene.port.vifs == ()
    assert scene.says('Requested') == ('False', 'InvalidAnnotation')
    assert scene.port.conditions['Requested'].message == 'no such network'
    assert scene.server.calls == ['publish', 'record']
    assert scene.reconciler.waiting_for(('ns', 'a')) == ('uid-web',)
    assert scene.reconciler.waiting_for(('ns', 'b')) == ()
    scene.library.error = None
    scene.look()
    assert scene.says('Requested') == ('True', 'Promised')
    assert scene.reconciler.waiting_for(('ns', 'a')) == ()


def test_what_may_be_over_at_the_next_try_is_told_at_the_second(scene):
    scene.pods['uid-web'] = kept()
    scene.library.error = ProviderUnavailable('no answer')
    with pytest.raises(ProviderUnavailable):
        scene.reconciler.reconcile('uid-web')
    assert scene.port is None
    assert scene.events.told == []
    with pytest.raises(ProviderUnavailable):
        scene.reconciler.reconcile('uid-web')
    assert scene.says('Requested') == ('False', 'ProviderUnavailable')
    assert scene.events.told == ['ProviderUnavailable']


def test_an_annotation_that_cannot_be_read_waits_for_no_network(scene):
    scene.pods['uid-web'] = kept('a,,b')
    scene.library.error = InvalidAnnotation('it is empty')
    with pytest.raises(InvalidAnnotation):
        scene.reconciler.reconcile('uid-web')
    assert scene.reconciler.waiting_for(('ns', 'a')) == ()


def test_a_pod_of_other_networks_is_told_to_its_node(scene):
    scene.library.vifs = ()
    scene.pods['uid-web'] = kept()
    scene.look()
    assert scene.says('Requested') == ('True', 'NotOurs')
    assert scene.says('Active') == ('False', 'NoVifs')
    assert scene.library.calls == ['request']


def test_a_change_before_a_vf_is_attached_is_honoured(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.pods['uid-web'] = kept('b')
    scene.look()
    assert scene.library.calls == ['request', 'request']
    assert scene.port.request == kept('b').digest


def test_a_change_after_that_is_ignored_and_told(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.report('0000:02:10.0')
    scene.look()
    scene.pods['uid-web'] = kept('b')
    scene.look()
    assert scene.library.calls.count('request') == 1
    assert set(scene.events.told) == {'ChangeIgnored'}


@pytest.mark.parametrize('phase', ['Succeeded', 'Failed'])
def test_a_pod_that_ended_gives_back_its_vifs(scene, phase):
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.pods['uid-web'] = kept(phase=phase)
    scene.look()
    assert scene.port is None
    assert scene.library.calls == ['request', 'release']
    assert scene.server.calls[2:] == ['delete', 'free']


def test_a_pod_that_is_being_deleted_keeps_what_it_has(scene):
    scene.pods['uid-web'] = kept(deleting=True)
    scene.look()
    assert scene.port is None
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.pods['uid-web'] = kept(deleting=True)
    scene.look()
    assert scene.library.calls == ['request']


def test_a_pod_whose_deletion_was_told_gives_back_without_a_question(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    del scene.pods['uid-web']
    scene.reconciler.note_deleted('uid-web')
    scene.look()
    assert scene.port is None
    assert 'get pod' not in scene.server.calls
    assert scene.library.calls == ['request', 'release']


@pytest.mark.parametrize(
    ('found', 'released'),
    [
        ({}, True),
        ({'metadata': {'uid': 'uid-next'}}, True),
        ({'metadata': {'uid': 'uid-web'}}, False),
        (
            {
                'metadata': {'uid': 'uid-web'},
                'status': {'phase': 'Succeeded'},
            },
            True,
        ),
    ],
    ids=['gone', 'another', 'without annotation', 'ended'],
)
def test_a_pod_that_is_merely_not_seen_is_asked_for(scene, found, released):
    """A list that lacks it is no proof, and its annotation may be gone."""
    scene.pods['uid-web'] = kept()
    scene.look()
    del scene.pods['uid-web']
    scene.server.pods['web'] = found
    scene.look()
    assert (scene.port is None) is released
    assert ('release' in scene.library.calls) is released
    assert 'get pod' in scene.server.calls


def test_an_object_that_somebody_deleted_works_on_while_its_pod_lives(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    scene.server.delete_port_object(scene.port)
    scene.server.report('0000:02:10.0')
    scene.look()
    assert scene.says('Active') == ('True', 'Activated')
    assert 'release' not in scene.library.calls


def test_what_cannot_be_given_back_stays_to_be_tried_again(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    del scene.pods['uid-web']
    scene.reconciler.note_deleted('uid-web')
    scene.library.error = ProviderUnavailable('no answer')
    with pytest.raises(ProviderUnavailable):
        scene.reconciler.reconcile('uid-web')
    assert scene.port.deleting
    scene.library.error = None
    scene.look()
    assert scene.port is None


def test_an_object_that_went_meanwhile_still_gives_back(scene):
    scene.pods['uid-web'] = kept()
    scene.look()
    stale = scene.port
    scene.server.ports.clear()
    scene.server.get = lambda uid: stale
    scene.pods['uid-web'] = kept(phase='Failed')
    scene.reconciler.reconcile('uid-web')
    assert scene.library.calls == ['request', 'release']


def test_a_pod_that_is_not_known_at_all(scene):
    scene.reconciler.note_deleted('uid-web')
    scene.look()
    assert scene.server.calls == scene.library.calls == []


# What was written, before the watch tells it.


class Watched(dict):
    """An ObjectCache that lags behind."""


def port(version, **changes):
    return PortObject(POD, resource_version=version, **changes)


def test_what_was_written_counts_until_the_watch_has_it():
    watched, ports = Watched(), PortObjects()
    ports.read_from(watched)
    assert ports.get('uid-web') is None
    ports.put(port('5'))
    assert ports.get('uid-web') == port('5')
    watched['uid-web'] = port('4')
    assert ports.get('uid-web') == port('5')
    ports.take_in(Change('uid-web', None, port('4')))
    assert ports.get('uid-web') == port('5')
    watched['uid-web'] = port('10')
    ports.take_in(Change('uid-web', port('4'), port('10')))
    assert ports.get('uid-web') == port('10')


def test_a_deletion_that_the_watch_tells_ends_it():
    watched, ports = Watched(), PortObjects()
    ports.read_from(watched)
    ports.put(port('5'))
    ports.take_in(Change('uid-web', None, None))
    assert ports.get('uid-web') == port('5')
    ports.take_in(Change('uid-web', port('5'), None, deleted=True))
    assert ports.get('uid-web') is None
    ports.take_in(Change('uid-web', None, None, deleted=True))
    ports.put(port('6'))
    ports.drop('uid-web')
    assert ports.get('uid-web') is None


def test_what_was_let_go_is_gone_before_the_watch_tells_it():
    """Else it would be given back a second time."""
    watched, ports = Watched(), PortObjects()
    ports.read_from(watched)
    watched['uid-web'] = port('5', deleting=True)
    ports.drop('uid-web')
    assert ports.get('uid-web') is None
    ports.take_in(Change('uid-web', port('4'), port('5', deleting=True)))
    assert ports.get('uid-web') is None
    del watched['uid-web']
    ports.take_in(Change('uid-web', port('5'), None, deleted=True))
    ports.put(port('9'))
    assert ports.get('uid-web') == port('9')


def test_a_condition_keeps_its_time_while_its_status_does():
    from kuryr_sriov_daemon.controller import conditions

    old = Condition('False', 'NotAttached', 'none', '2026-01-01T00:00:00Z')
    theirs = Condition('True', 'Attached')
    found = port('1', conditions={'Active': old, 'Attached': theirs})
    failed = conditions.failure_of(ProviderUnavailable('why'))
    merged = conditions.merge_conditions(found, {'Active': failed})
    assert merged.keys() == {'Active'}
    assert merged['Active'].since == old.since
    assert merged['Active'].message == 'why'
    merged = conditions.merge_conditions(
        found, {'Active': conditions.ACTIVATED}
    )
    assert merged['Active'].since > old.since
