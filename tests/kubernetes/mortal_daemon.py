# SPDX-License-Identifier: Apache-2.0
"""The node daemon as a process of its own, which may be killed on the way.

Its argument is JSON: the address of the simulated kernel, files of
configuration, the node's name, and the point to die at, empty for none:
a step of the library, a change of the node, or one of ``POINTS``.
"""

import json
import logging
import os
import signal
import sys

from kuryr_sriov import Kubernetes, KubernetesSession, load_config
from kuryr_sriov.cmd.demo import shared_kernel
from kuryr_sriov.testing.fixtures.interruption import tell_beginnings
from kuryr_sriov_daemon.node import cni_server
from kuryr_sriov_daemon.node.cni_commands import CniCommands
from kuryr_sriov_daemon.node.daemon import Identity, NodeDaemon
from kuryr_sriov_daemon.node.node_metrics import NodeMetrics
from kuryr_sriov_daemon.options import register_daemon_options

POINTS = {
    'serve': (CniCommands, 'serve'),
    'answer': (cni_server._Handler, '_send_answer'),
    'answered': (CniCommands, 'finish'),
    'report': (Kubernetes, 'report'),
    'network-status': (Kubernetes, 'patch_network_status'),
}
"""What the daemon does besides the steps of the library."""


def main():
    task = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO)

    def die_at(name):
        if name == task['point']:
            os.kill(os.getpid(), signal.SIGKILL)

    def mine(owner, name, point):
        method = getattr(owner, name)

        def mined(*args, **named):
            die_at(point)
            return method(*args, **named)

        setattr(owner, name, mined)

    for point, (owner, name) in POINTS.items():
        mine(owner, name, point)
    observe = NodeMetrics.observe
    told = tell_beginnings(die_at)
    NodeMetrics.observe = lambda self, event: (
        told(event),
        observe(self, event),
    )
    host = shared_kernel.connect_host(task['kernel'])
    host.on_change(die_at)
    conf = register_daemon_options(load_config(files=task['files']))
    session = KubernetesSession(kubeconfig=conf.sriov_daemon.kubeconfig)
    daemon = NodeDaemon(
        conf, Kubernetes(session), Identity(task['node']), host=host
    )
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    daemon.run()


if __name__ == '__main__':
    main()
