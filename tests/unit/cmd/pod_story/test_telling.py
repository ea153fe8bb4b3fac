# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov pod`` tells what is wrong with a pod, and what to do."""

import argparse
import dataclasses
import json
import os

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes import portobject
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.cmd import arguments
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.cmd.main import main
from kuryr_sriov.cmd.pod_story import telling
from kuryr_sriov.controller import Controller
from kuryr_sriov.node import Node
from kuryr_sriov.npwg import nad_config, requests
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import SimulatedNode

NETNS = '/run/netns/pod'
PF = '0000:02:00.1'
DONE = {
    kind: portobject.Condition('True', 'Fine', '', '2026-01-01T00:00:00Z')
    for kind in ('Requested', 'Attached', 'Active')
}


class Session:
    """An API server that has these objects; ``error`` is its answer else."""

    def __init__(self):
        self.objects = {}
        self.lists = {}
        self.error = None

    def call(self, method, path, *, missing=None):
        assert method == 'GET'
        if self.error:
            raise self.error
        if path not in self.objects:
            raise missing('not found')
        return self.objects[path]

    def list_objects(self, path, query=None):
        if self.error:
            raise self.error
        yield {'items': self.lists.get(path, [])}


class Place:
    """The how-to's pod on its node, wired, and all that know of it."""

    def __init__(self, folder):
        (folder / 'kube').mkdir()
        self.folder = folder
        self.files = howto_files.read_howto(howto_files.default_folder())
        self.body = self.files.pod
        self.pod = requests.pod_of(self.body)
        self.conf = self.files.conf(folder)
        self.node = SimulatedNode(folder / 'node', self.files.pfs())
        self.kubelet = Kubelet(folder / 'kube')
        for name, (pf,) in self.files.pools.items():
            self.kubelet.plug(f'intel.com/{name}', self.node.vfs(pf))
        self.kubelet.allocate(
            self.pod.namespace,
            self.pod.name,
            self.pod.uid,
            self.files.requests(),
        )
        controller = Controller(
            self.conf, self.files.get_nad, lambda pod, vifs: None
        )
        self.vifs = controller.request(self.body)
        self.session = Session()
        status = {'phase': 'Running'}
        self.show_pod({**self.body, 'status': status})
        for (namespace, name), nad in self.files.nads.items():
            self.session.objects[self.nad_path(namespace, name)] = nad
        self.show_port(DONE)

    def nad_path(self, namespace, name):
        return (
            f'/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/'
            f'network-attachment-definitions/{name}'
        )

    def show_pod(self, body):
        self.session.lists['/api/v1/namespaces/default/pods'] = [body]

    def show_port(self, conditions, vifs=None):
        vifs = self.vifs if vifs is None else vifs
        body = portobject.promise_body(self.pod, vifs, '')
        verdict = portobject.verdict_body(self.pod, conditions, {})
        path = (
            '/apis/openstack.org/v1/namespaces/default/kuryrsriovports/'
            f'{self.pod.uid}'
        )
        self.session.objects[path] = {**body, 'status': verdict['status']}
        return path

    def attach(self):
        sandbox = model.Sandbox('c0ffee', self.node.add_netns(NETNS), self.pod)
        with Node(self.conf, host=self.node.host) as node:
            node.attach(sandbox, self.vifs)

    def story(self):
        return telling.read_story(
            Kubernetes(self.session),
            self.node.host,
            self.conf,
            self.pod.namespace,
            self.pod.name,
        )

    def text(self):
        return ' '.join(' '.join(telling.story_lines(self.story())).split())


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    with place.kubelet:
        yield place
    place.node.close()


def test_a_pod_that_has_all_its_vfs(place):
    place.attach()
    story = place.story()
    assert story.troubles == ()
    assert [c.unread for c in story.chapters] == [''] * len(story.chapters)
    lines = list(telling.story_lines(story))
    assert lines[0] == f'Pod default/{place.pod.name}: nothing is wrong.'
    text = place.text()
    for words in (
        'Running on node node1',
        'net1: default/sriov-net1, a VF of',
        f'port {place.vifs[0].id}, MAC {place.vifs[0].mac}',
        'Active: True (Fine) since 2026-01-01T00:00:00Z',
        '0000:02:10.1 of intel.com/physnet23',
        'net2: VF 0000:02:10.1 by netdevice',
        f'interface net2 in {NETNS}: MAC {place.vifs[1].mac}',
        f'PF ens8 holds MAC {place.vifs[1].mac}, VLAN 3502 for it',
    ):
        assert words in text


def test_a_network_that_is_not_there_comes_first(place):
    del place.session.objects[place.nad_path('default', 'sriov-net2')]
    place.session.objects.pop(place.show_port({}))
    first, second = place.story().troubles
    assert 'NetworkAttachmentDefinition default/sriov-net2' in first.message
    assert 'has not made a port object' in second.message
    assert place.text().startswith(
        f'Pod default/{place.pod.name}: there is no NetworkAttachment'
    )


def test_what_the_controller_says_is_passed_on(place):
    failed = portobject.Condition('False', 'ProviderRefused', 'no such subnet')
    place.show_port({'Requested': failed}, [])
    (trouble,) = place.story().troubles
    assert trouble.message == 'Requested: no such subnet'


def test_what_is_waited_for_is_named(place):
    place.show_port({'Requested': DONE['Requested']})
    (trouble,) = place.story().troubles
    assert trouble.message == 'The pod is not Attached yet.'
    assert 'kuryr-sriov-node' in trouble.remedy


def test_too_few_devices_are_requested(place):
    pod = json.loads(json.dumps(place.body))
    pod['spec']['containers'][0]['resources'] = {}
    for name in ('sriov-net1', 'sriov-net2'):
        path = place.nad_path('default', name)
        nad = json.loads(json.dumps(place.session.objects[path]))
        annotations = nad['metadata'].setdefault('annotations', {})
        annotations[nad_config.RESOURCE_NAME] = 'intel.com/physnet22'
        place.session.objects[path] = nad
    place.show_pod(pod)
    first, *_ = place.story().troubles
    assert 'raise resources.requests' in first.message


def test_a_vf_that_somebody_changed_is_named(place):
    place.attach()
    pf = place.node.host.pci.device(PF).ifindex
    wrong = model.VfSettings(vlan=99, vlan_qos=0)
    place.node.host.links.set_vf(pf, 0, wrong)
    (trouble,) = place.story().troubles
    assert 'vlan is 99, not 3502' in trouble.message


def test_a_cable_that_is_out_is_named(place):
    place.attach()
    place.node.unplug(PF)
    messages = [trouble.message for trouble in place.story().troubles]
    assert f'PF {PF} (ens8) has no link.' in messages


def test_a_sandbox_that_is_gone_leads_to_repair(place):
    place.attach()
    place.node.delete_netns(NETNS)
    first, *_ = place.story().troubles
    assert f'no network namespace {NETNS}' in first.message
    assert 'kuryr-sriov repair' in first.remedy


def test_the_node_is_told_without_an_api_server(place):
    """By the pod's name, as the ledger has it."""
    place.attach()
    place.session.error = exceptions.TransientError('no answer')
    story = place.story()
    assert story.troubles == ()
    assert story.chapters[0].unread == 'no answer'
    text = place.text()
    assert 'not all could be read' in text
    assert 'net2: VF 0000:02:10.1 by netdevice' in text


def test_a_pod_of_another_node_is_to_be_looked_at_there(place, monkeypatch):
    elsewhere = {**place.body['spec'], 'nodeName': 'node2'}
    place.show_pod({**place.body, 'spec': elsewhere})
    assert 'It is on node2. Run this there' in place.text()


def test_a_pod_that_is_not_there(place):
    place.session.lists.clear()
    first, *_ = place.story().troubles
    assert f'has no pod default/{place.pod.name}' in first.message


def test_events_that_warn_or_are_ours_are_shown(place):
    path = '/api/v1/namespaces/default/events'
    place.session.lists[path] = [
        {'type': 'Normal', 'message': 'pulled', 'lastTimestamp': 'T1'},
        {
            'type': 'Warning',
            'reason': 'FailedCreatePodSandBox',
            'message': 'no VF is free',
            'lastTimestamp': 'T2',
        },
    ]
    text = place.text()
    assert 'T2 FailedCreatePodSandBox: no VF is free' in text
    assert 'pulled' not in text


def test_neutron_is_asked_for_the_ports(place, monkeypatch):
    from kuryr_sriov.clients import neutron

    def get(client, collection, name, port):
        return {
            'status': 'DOWN',
            'binding:host_id': 'node1',
            'binding:vif_type': 'hw_veb',
            'binding:profile': {'pci_slot': '0000:02:10.0'},
        }

    monkeypatch.setattr(neutron.NeutronClient, 'get', get)
    place.conf.set_override('vif_driver', 'neutron', 'sriov')
    first, _ = place.story().troubles
    assert first.message == (
        f'Neutron has port {place.vifs[0].id} of net1 as DOWN.'
    )
    assert 'neutron-sriov-nic-agent' in first.remedy
    assert 'net1: DOWN on host node1, hw_veb, VF 0000:02:10.0' in place.text()


def test_a_port_that_is_not_found_yet_is_not_asked_for(place, monkeypatch):
    """On a node that is a VM: the VF says which one it is."""
    from kuryr_sriov.clients import neutron

    asked = []

    def get(client, collection, name, port):
        asked.append(port)
        return {'status': 'ACTIVE'}

    monkeypatch.setattr(neutron.NeutronClient, 'get', get)
    place.conf.set_override('vif_driver', 'neutron', 'sriov')
    promised = [
        dataclasses.replace(vif, id='', mac='', provider_network='net-a')
        for vif in place.vifs
    ]
    path = place.show_port(DONE, promised)
    assert 'net1: the port that its VF is, on network net-a' in place.text()
    assert asked == []
    place.session.objects[path]['status']['attachments'] = [
        {'interface': 'net1', 'vifId': 'port-6', 'pciAddress': '0000:00:06.0'}
    ]
    assert 'net1: port port-6, on network net-a' in place.text()
    assert set(asked) == {'port-6'}


def test_nothing_is_changed(place):
    def everything():
        tree = sorted(
            os.path.join(folder, name)
            for folder, folders, files in os.walk(place.folder)
            for name in (*folders, *files)
        )
        return tree, place.node.state()

    place.attach()
    before = everything()
    place.story()
    assert everything() == before


def test_lines_fit_80_columns_unless_a_word_does_not(place):
    place.attach()
    place.node.delete_netns(NETNS)
    lines = telling.story_lines(place.story())
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ('text', 'names'),
    [('web', ('default', 'web')), ('shop/web', ('shop', 'web'))],
)
def test_a_pod_is_named_as_kubectl_does(text, names):
    assert telling._parse_name(text) == names


@pytest.mark.parametrize('text', ['', 'a/', 'a/b/c'])
def test_what_is_no_name_is_a_usage_error(text):
    with pytest.raises(argparse.ArgumentTypeError):
        telling._parse_name(text)


def test_the_exit_status_says_whether_something_is_wrong(
    place, monkeypatch, capsys
):
    monkeypatch.setattr(arguments, 'connect', lambda args: place.session)
    monkeypatch.setattr(Session, 'close', lambda self: None, raising=False)
    files = [f'--config-file={file}' for file in place.conf.config_file]
    command = [
        'pod',
        f'default/{place.pod.name}',
        *files,
        f'--root={place.folder / "node"}',
    ]
    assert main(command) == 0
    place.show_port({})
    capsys.readouterr()
    assert main([*command, '--json']) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed['pod'] == f'default/{place.pod.name}'
    (trouble,) = printed['chapters'][2]['troubles']
    assert trouble['message'] == 'The pod is not Requested yet.'
