# SPDX-License-Identifier: Apache-2.0
"""The node daemon on a simulated node, and a runtime that asks it."""

import contextlib
import dataclasses
import http.client
import json
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

from fakeapi import FakeKubernetes

from kuryr_sriov.config import loading
from kuryr_sriov_daemon.node.daemon import Identity, NodeDaemon
from kuryr_sriov_daemon.options import register_daemon_options

CONF = """
[sriov_node]
way = {way}
cni_socket = {run}/cni.sock
cni_conf_dir = {run}/net.d
cni_bin_dir = {run}/bin
plugin = {plugin}
request_timeout = {request_timeout}
vifs_timeout = {vifs_timeout}
active_timeout = {active_timeout}
http_port = 0
drain_timeout = 10
"""
NETNS = '/run/netns/pod{}-{}'
PREVIOUS = {
    'cniVersion': '1.0.0',
    'interfaces': [{'name': 'eth0', 'mac': '02:00:00:00:00:02'}],
    'ips': [{'address': '10.1.0.5/16', 'interface': 0}],
    'dns': {},
}


def wait_for(condition, seconds=120):
    """Return once it holds; the time is for a machine that is busy."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def connect(path):
    """A socket that is connected."""
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(120)
    try:
        found.connect(str(path))
    except OSError:
        found.close()
        raise
    return found


class Runtime:
    """A container runtime, for pods by number; speaks to the socket."""

    def __init__(self, path, way='chained'):
        self.path = path
        self.way = way

    def send(self, command, pod, ifname='eth0', generation=1, **config):
        """A connection on which that was asked."""
        if self.way == 'chained' and command == 'ADD':
            config.setdefault('prevResult', PREVIOUS)
        config = {'cniVersion': '1.0.0', 'name': 'pods', **config}
        connection = http.client.HTTPConnection('node', timeout=120)
        connection.sock = connect(self.path)
        headers = {
            'X-CNI-Command': command,
            'X-CNI-ContainerID': f'sandbox{pod}-{generation}',
            'X-CNI-Netns': NETNS.format(pod, generation),
            'X-CNI-IfName': ifname,
            'X-CNI-Args': 'K8S_POD_NAMESPACE=default;'
            f'K8S_POD_NAME=pod{pod};K8S_POD_UID=uid-{pod}',
        }
        try:
            connection.request('POST', '/cni', json.dumps(config), headers)
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, *args, **named):
        """Status and body of the answer; an empty one is None."""
        with contextlib.closing(self.send(*args, **named)) as connection:
            response = connection.getresponse()
            data = response.read()
        return response.status, json.loads(data) if data else None

    def succeed(self, *args, **named):
        """The body of a good answer."""
        status, body = self.ask(*args, **named)
        assert status == 200, body
        return body

    def fail(self, *args, **named):
        """The CNI error object of a bad one."""
        status, body = self.ask(*args, **named)
        assert status != 200
        return body


class NodeWithDaemon:
    """A world with the daemon on it.

    :ivar api: what the API server has.
    """

    def __init__(self, world):
        self.world = world
        self.api = FakeKubernetes()
        self.run = Path(tempfile.mkdtemp())  # for a short path of the socket
        self.running = []
        self.options = {
            'way': 'chained',
            'request_timeout': 100,
            'vifs_timeout': 60,
            'active_timeout': 0,
            'plugin': '',
        }

    def start(self, **options):
        """Start the daemon; it serves when this returns."""
        self.options |= options
        daemon = self.make()
        thread = threading.Thread(target=daemon.run)
        thread.start()
        self.running.append((daemon, thread))
        wait_for(lambda: not daemon._why_not_ready() or not thread.is_alive())
        assert thread.is_alive()
        return daemon

    def conf(self):
        """The configuration, as a daemon reads it."""
        text = CONF.format(run=self.run, **self.options)
        file = self.world.path / 'kuryr.conf'
        state = f'state_dir = {self.world.path}/state'
        file.write_text(f'{self.world.text}{state}\n{text}')
        return register_daemon_options(loading.load_config(files=[str(file)]))

    def make(self):
        """A daemon that does not run yet."""
        return NodeDaemon(
            self.conf(),
            self.api,
            Identity('node1', 'kuryr-sriov', 'kuryr-sriov-node'),
            host=self.world.node.host,
            allocations=self.world.allocations,
        )

    def stop(self):
        """End the one that was started last."""
        daemon, thread = self.running.pop()
        daemon.stop()
        thread.join()

    def close(self):
        while self.running:
            self.stop()
        shutil.rmtree(self.run)

    @property
    def runtime(self):
        return Runtime(self.run / 'cni.sock', self.options['way'])

    def schedule(self, number, generation=1):
        """A pod with one VF of each PF; what it was promised."""
        vfs = self.world.vf(0, number - 1), self.world.vf(1, number - 1)
        sandbox = self.world.sandbox(number, *vfs, generation=generation)
        self.api.add_pod(sandbox.pod, 'sriov-net1,sriov-net2')
        pod = dataclasses.replace(sandbox.pod, node='node1')
        return pod, self.world.both()

    def promised(self, number):
        """Such a pod whose VIFs are there."""
        pod, vifs = self.schedule(number)
        self.api.promise(pod, vifs)
        return pod, vifs
