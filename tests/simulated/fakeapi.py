# SPDX-License-Identifier: Apache-2.0
"""What the node daemon sees of the API server, changed by the test."""

import dataclasses
import json
import threading

from kuryr_sriov import (
    NETWORK_STATUS,
    Change,
    Condition,
    Pod,
    PortObject,
    ResourceConflict,
)
from kuryr_sriov.codec import to_builtins

NETWORKS = 'k8s.v1.cni.cncf.io/networks'


class FakeCopy:
    """As ``ObjectCache``, without an API server behind it.

    :param there: what the API server has, by key.
    """

    def __init__(self, there, keep, changed):
        self._there = there
        self._keep = keep
        self._changed = changed
        self._objects = {}
        self._over = threading.Event()
        self._lock = threading.RLock()
        self.is_complete = False
        self.trouble = None

    def run(self):
        with self._lock:  # so that no older body comes after a newer one
            for key, body in tuple(self._there.items()):
                self.put(key, body)
        self.is_complete = True
        self._over.wait()

    def stop(self):
        self._over.set()

    def get(self, key):
        return self._objects.get(key)

    def all(self):
        return dict(self._objects)

    def put(self, key, body):
        with self._lock:
            old, new = self._objects.get(key), self._keep(body)
            self._objects[key] = new
            self._changed(Change(key, old, new))

    def drop(self, key):
        with self._lock:
            old = self._objects.pop(key, None)
            self._changed(Change(key, old, None, True))


class FakeKubernetes:
    """Pods and port objects, and what the node told of them.

    :ivar reports: the calls of ``report``, in order.
    :ivar refusal: an error that ``report`` raises; ``refused`` counts it.
    """

    def __init__(self):
        self.session = FakeSession()
        self.bodies = {}
        self.promises = {}
        self.copies = []
        self.reports = []
        self.statuses = []
        self.refusal = None
        self.refused = 0
        self._versions = iter(range(1, 1 << 30))
        self._lock = threading.RLock()

    # As the node daemon calls it.

    def watch_pods(self, keep, changed, node=''):
        copy = FakeCopy(self.bodies, keep, changed)
        self.copies.append((self.bodies, copy))
        return copy

    def watch_port_objects(self, changed, node=''):
        copy = FakeCopy(self.promises, lambda port: port, changed)
        self.copies.append((self.promises, copy))
        return copy

    def report(self, pod, attachments, condition):
        if self.refusal:
            self.refused += 1
            raise self.refusal
        assert condition.since, 'the API server refuses it'
        with self._lock:
            self.reports.append((pod, tuple(attachments), condition))
            port = self.promises.get(pod.uid)
            conditions = {**port.conditions, 'Attached': condition}
            self._put_port(
                port, attachments=tuple(attachments), conditions=conditions
            )

    def patch_network_status(self, pod, status, resource_version=''):
        with self._lock:
            metadata = self.bodies[pod.uid]['metadata']
            if metadata['resourceVersion'] != resource_version:
                raise ResourceConflict('changed', retry_after=0.01)
            self.statuses.append(status)
            self.annotate(pod, **{NETWORK_STATUS: json.dumps(status)})

    # As the test does.

    def add_pod(self, pod, networks='', phase='Pending', **annotations):
        """A pod that the API server has from now on."""
        if networks:
            annotations[NETWORKS] = networks
        self.bodies[pod.uid] = {
            'metadata': {
                'namespace': pod.namespace,
                'name': pod.name,
                'uid': pod.uid,
                'annotations': annotations,
            },
            'spec': {'nodeName': 'node1'},
            'status': {'phase': phase},
        }
        self._put(pod.uid)

    def annotate(self, pod, **annotations):
        """What somebody writes to the pod."""
        body = json.loads(json.dumps(self.bodies[pod.uid]))
        body['metadata']['annotations'] |= annotations
        self.bodies[pod.uid] = body
        self._put(pod.uid)

    def set_phase(self, pod, phase):
        self.bodies[pod.uid]['status'] = {'phase': phase}
        self._put(pod.uid)

    def delete_pod(self, pod):
        self._drop(self.bodies, pod.uid)
        self._drop(self.promises, pod.uid)

    def promise(self, pod, vifs, condition=None):
        """What the controller writes to the pod's port object."""
        pod = dataclasses.replace(pod, node='node1')
        old = self.promises.get(pod.uid) or PortObject(pod)
        requested = condition or Condition('True', 'Requested')
        self._put_port(
            old,
            vifs_json=json.dumps(to_builtins(tuple(vifs))),
            conditions={**old.conditions, 'Requested': requested},
        )

    def activate(self, pod, status='True'):
        """What the controller writes once traffic flows, or not."""
        port = self.promises.get(pod.uid)
        told = {a.vif_id: a.location.pci_slot for a in port.attachments}
        active = Condition(status, 'Active', 'the agent is away')
        self._put_port(
            port,
            activated=told,
            conditions={**port.conditions, 'Active': active},
        )

    def _put(self, uid):
        version = str(next(self._versions))
        self.bodies[uid]['metadata']['resourceVersion'] = version
        self._tell(self.bodies, uid)

    def _put_port(self, port, **changes):
        with self._lock:
            uid = port.pod.uid
            self.promises[uid] = dataclasses.replace(port, **changes)
            self._tell(self.promises, uid)

    def _tell(self, there, uid):
        for kind, copy in self.copies:
            if kind is there:
                copy.put(uid, there[uid])

    def _drop(self, there, uid):
        if there.pop(uid, None) is not None:
            for kind, copy in self.copies:
                if kind is there:
                    copy.drop(uid)

    def copy_of(self, there):
        """The copy of it that was begun last."""
        return [copy for kind, copy in self.copies if kind is there][-1]


def pod_number(number):
    """As ``World.sandbox`` has it."""
    return Pod('default', f'pod{number}', f'uid-{number}', 'node1')


class FakeSession:
    """What PodEvents and DaemonSet ask of the API server.

    :ivar events: bodies of those that were created.
    :ivar daemonset: it, or the error that asking for it raises.
    """

    def __init__(self):
        self.events = []
        self.daemonset = {'kind': 'DaemonSet', 'metadata': {}}

    def call(self, method, path, body=None, *args, **named):
        if '/daemonsets/' in path:
            if isinstance(self.daemonset, Exception):
                raise self.daemonset
            return self.daemonset
        assert (method, '/events' in path) == ('POST', True)
        self.events.append(body)
        return body | {'kind': 'Event'}

    def reasons(self):
        return [event['reason'] for event in self.events]
