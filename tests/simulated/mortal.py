# SPDX-License-Identifier: Apache-2.0
"""A process that calls a method of Node and is killed on the way.

Standard input has, pickled: the address of a simulated node, kuryr.conf,
the method, its arguments, and at which step or change to die.
"""

import os
import pickle
import signal
import sys

from kuryr_sriov.config import loading
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.simulated_node import SimulatedHost


def main():
    address, conf, method, arguments, point = pickle.load(sys.stdin.buffer)

    def observe(name):
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    host = SimulatedHost.attach(address)
    host.on_change(observe)
    node = Node(loading.load_config(files=[conf]), host=host, observe=observe)
    getattr(node, method)(*arguments)


if __name__ == '__main__':
    main()
