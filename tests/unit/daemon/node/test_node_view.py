# SPDX-License-Identifier: Apache-2.0
"""Who is told of what the API server tells of this node."""

import threading
import time

import pytest

from kuryr_sriov import Change, Pod, PortObject, TransientError
from kuryr_sriov_daemon.node.node_view import NodeView, keep_pod


class Cache(dict):
    """Objects by uid, as they were told."""

    is_complete, trouble = True, ''

    def all(self):
        return dict(self)

    def run(self):
        """It is told by the test."""


class Watches:
    """The API server's watches; what they tell is said by the test."""

    def watch_pods(self, keep, changed, node):
        self.pods, self._pod_changed, self.node = Cache(), changed, node
        return self.pods

    def watch_port_objects(self, changed, node):
        self.ports, self._port_changed = Cache(), changed
        return self.ports

    def tell_pod(self, known, uid=''):
        self._tell(self.pods, self._pod_changed, uid or known.pod.uid, known)

    def tell_port(self, port):
        self._tell(self.ports, self._port_changed, port.pod.uid, port)

    def _tell(self, cache, changed, uid, new):
        old = cache.pop(uid, None)
        if new is not None:
            cache[uid] = new
        changed(Change(uid, old, new, deleted=new is None))


def known_pod(uid='uid-1', name='web', phase='Running', **annotations):
    return keep_pod(
        {
            'metadata': {
                'namespace': 'ns',
                'name': name,
                'uid': uid,
                'resourceVersion': '1',
                'annotations': annotations,
            },
            'status': {'phase': phase},
        }
    )


@pytest.fixture
def watches():
    return Watches()


@pytest.fixture
def view(watches):
    return NodeView(watches, 'node-1')


def test_listeners_are_told_of_pods_and_ports(view, watches):
    told, also = [], []
    view.add_listener(told.append)
    view.add_listener(also.append)
    watches.tell_pod(known_pod('uid-1'))
    watches.tell_port(PortObject(Pod('ns', 'db', 'uid-2')))
    watches.tell_pod(None, 'uid-1')
    assert told == also == ['uid-1', 'uid-2', 'uid-1']


def test_a_pod_is_found_by_its_name_and_uid(view, watches):
    watches.tell_pod(known_pod('uid-1'))
    assert view.find_pod('ns', 'web', 'uid-1').pod.uid == 'uid-1'
    assert view.find_pod('ns', 'web', '').pod.uid == 'uid-1'
    for other in [
        ('ns', 'web', 'uid-2'),
        ('ns', 'db', 'uid-1'),
        ('other', 'web', 'uid-1'),
    ]:
        assert view.find_pod(*other) is None


def test_a_static_pod_is_found_by_the_uid_that_the_runtime_has(view, watches):
    watches.tell_pod(known_pod('mirror', **{'kubernetes.io/config.hash': 'h'}))
    assert view.find_pod('ns', 'web', 'h').pod.uid == 'mirror'


@pytest.mark.parametrize('phase', ['Succeeded', 'Failed'])
def test_a_pod_that_is_over_is_not_found_without_its_uid(view, watches, phase):
    """Its successor of the same name is what the runtime means."""
    watches.tell_pod(known_pod('uid-1', phase=phase))
    assert view.find_pod('ns', 'web', '') is None
    assert view.find_pod('ns', 'web', 'uid-1').is_over
    watches.tell_pod(known_pod('uid-2'))
    assert view.find_pod('ns', 'web', '').pod.uid == 'uid-2'


def test_a_pod_that_is_gone_is_not_found_and_its_successor_is(view, watches):
    watches.tell_pod(known_pod('uid-1'))
    watches.tell_pod(known_pod('uid-2'))
    watches.tell_pod(None, 'uid-1')
    assert view.find_pod('ns', 'web', 'uid-1') is None
    assert view.find_pod('ns', 'web', '').pod.uid == 'uid-2'
    watches.tell_pod(None, 'uid-2')
    assert view.find_pod('ns', 'web', '') is None


def test_who_waits_for_a_pod_gets_it_when_it_is_told(view, watches):
    waits = threading.Event()
    found = []

    def wait_for_it():
        found.append(
            view.wait_for_pod(
                *('ns', 'web', 'uid-1', time.monotonic() + 60),
                raise_if_over=waits.set,
            )
        )

    thread = threading.Thread(target=wait_for_it)
    thread.start()
    waits.wait()
    watches.tell_pod(known_pod('uid-1'))
    thread.join()
    assert found == [known_pod('uid-1')]


def test_who_waits_is_asked_whether_it_is_over(view):
    def is_over():
        raise TransientError('a DEL has come')

    with pytest.raises(TransientError, match='a DEL has come'):
        view.wait_for_pod('ns', 'web', '', time.monotonic() + 60, is_over)


def test_what_is_not_told_in_time_is_named_with_the_trouble(view, watches):
    watches.pods.trouble = 'no answer from 10.0.0.1'
    with pytest.raises(TransientError) as caught:
        view.wait_for_pod('ns', 'web', '', time.monotonic(), lambda: None)
    assert 'has not told of pod ns/web (without uid)' in str(caught.value)
    assert 'no answer from 10.0.0.1' in str(caught.value)


def test_it_is_of_its_own_node(watches, view):
    assert watches.node == 'node-1'
