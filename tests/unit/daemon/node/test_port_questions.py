# SPDX-License-Identifier: Apache-2.0
"""The node asks what the provider says of a port, and waits for the answer."""

import dataclasses

import pytest

from kuryr_sriov import (
    Change,
    Condition,
    Pod,
    PortObject,
    TransientError,
    Vif,
)
from kuryr_sriov.codec import to_json
from kuryr_sriov_daemon.node.node_view import NodeView
from kuryr_sriov_daemon.node.port_questions import PortQuestions

POD = Pod('ns', 'web', 'uid-1', 'vm-1')
PROMISE = Vif('', 'net1', 'ns/a', 'x/a', 'p', '', provider_network='a')
ANSWER = dataclasses.replace(
    PROMISE, id='port-6', mac='fa:16:3e:00:00:06', addresses=('10.0.0.6/24',)
)


class Server(dict):
    """The API server; its controller answers as it is told to.

    It is also the copy of its port objects, by uid.
    """

    def __init__(self):
        self.told = []
        self.answer = {}

    def run(self):
        """What it tells is said by the test."""

    def watch_pods(self, keep, changed, node):
        return self

    def watch_port_objects(self, changed, node):
        self._changed = changed
        return self

    def tell_found(self, pod, found):
        self.told.append(dict(found))
        self.publish(found=found, **self.answer)

    def publish(self, vifs=(PROMISE,), **more):
        old = self.get(POD.uid)
        self[POD.uid] = PortObject(POD, vifs_json=to_json(vifs), **more)
        self._changed(Change(POD.uid, old, self[POD.uid], deleted=False))


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def questions(server):
    view = NodeView(server, 'vm-1')
    server.publish()
    return PortQuestions(server, view, 0.2)


def test_what_the_controller_completes_is_the_answer(server, questions):
    server.answer = {'vifs': (ANSWER,)}
    assert questions.ask(POD, PROMISE, 'port-6') == ANSWER
    assert server.told == [{'net1': 'port-6'}]
    assert questions.ask(POD, ANSWER, 'port-6') == ANSWER
    assert len(server.told) == 1  # it is there already


def test_what_was_found_for_other_interfaces_stays(server, questions):
    server.publish(found={'net2': 'port-7'})
    server.answer = {'vifs': (ANSWER,)}
    questions.ask(POD, PROMISE, 'port-6')
    assert server.told == [{'net1': 'port-6', 'net2': 'port-7'}]


def test_an_answer_about_an_earlier_vf_is_none(server, questions):
    """The kubelet has given the pod another one since."""
    server.publish((ANSWER,), found={'net1': 'port-6'})
    with pytest.raises(TransientError, match='port-9'):
        questions.ask(POD, ANSWER, 'port-9')


def test_no_answer_has_a_deadline(server, questions):
    with pytest.raises(TransientError, match=r'port-6 .*see whether it runs'):
        questions.ask(POD, PROMISE, 'port-6')


def test_why_there_is_no_answer_is_told_at_once(server):
    view = NodeView(server, 'vm-1')
    server.publish()
    questions = PortQuestions(server, view, 60)
    refused = Condition('False', 'ProviderRefused', 'it is on network b')
    server.answer = {'conditions': {'Requested': refused}}
    with pytest.raises(TransientError, match='it is on network b'):
        questions.ask(POD, PROMISE, 'port-6')
