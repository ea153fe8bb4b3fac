# SPDX-License-Identifier: Apache-2.0
"""What a container runtime does: it starts the CNI plugin."""

import dataclasses
import json
import os
import pathlib
import subprocess

SOURCES = pathlib.Path(__file__).parents[2] / 'cni'
COMMANDS = 'ADD', 'CHECK', 'DEL', 'GC', 'STATUS'
CONFIG = {'cniVersion': '1.0.0', 'name': 'pods', 'type': 'kuryr-sriov'}
VARIABLES = {
    'CNI_CONTAINERID': 'container1',
    'CNI_NETNS': '/run/netns/pod1',
    'CNI_IFNAME': 'eth0',
    'CNI_ARGS': 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default',
    'CNI_PATH': '/opt/cni/bin',
}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a run of the plugin ended."""

    status: int
    output: bytes

    @property
    def error(self):
        """The CNI error object that it printed."""
        assert self.status == 1
        error = json.loads(self.output)
        assert error.keys() >= {'cniVersion', 'code', 'msg'}
        return error

    @property
    def code(self):
        return self.error['code']


@dataclasses.dataclass(frozen=True)
class Plugin:
    """The plugin of one node.

    :param deadline: seconds; 0 for what is built in.
    """

    program: pathlib.Path
    socket: pathlib.Path
    deadline: int = 0

    def start(self, command, config=CONFIG, stdout=None, **variables):
        """A running one; a configuration of bytes is taken as it is."""
        if not isinstance(config, bytes):
            config = json.dumps(config).encode()
        environment = {
            'CNI_COMMAND': command,
            'KURYR_SRIOV_CNI_SOCKET': self.socket,
            'KURYR_SRIOV_CNI_DEADLINE': str(self.deadline),
            **VARIABLES,
            **variables,
        }
        process = subprocess.Popen(
            [self.program],
            env={k: v for k, v in environment.items() if v is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if stdout is None else stdout,
        )
        return process, config

    def run(self, command, config=CONFIG, **variables):
        """How it ended."""
        process, config = self.start(command, config, **variables)
        output, _ = process.communicate(config, timeout=60)
        return Ended(process.returncode, output)


def pipe_without_reader():
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer
