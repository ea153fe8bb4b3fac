# SPDX-License-Identifier: Apache-2.0
"""The node's machine: the lab's, kept running, with its agent in it."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

from servers import Running, Server

from tools.lab.topology import NODE_ADDRESS, load

from .patience import wait_until

REPOSITORY = pathlib.Path(__file__).parents[3]
TOPOLOGY = REPOSITORY / 'tests/cluster/topology.json'

AGENT_PORT = 8022

MODULES = (
    *('veth', 'bridge', 'br_netfilter', 'overlay'),
    *('nf_tables', 'nft_chain_nat', 'nft_masq', 'nft_nat'),
)

KEPT = (
    '/etc/cni/net.d',
    '/opt/cni/bin',
    '/var/lib/containerd',
    '/var/lib/cni',
    '/var/lib/kubelet',
    '/var/lib/kuryr-sriov',
    '/var/log',
)
"""Folders on the node's disk: what a reboot does not lose."""

HUGEPAGES = 512
"""Of 2 MiB: what two pods of the how-to need."""


IDLE_CPUS = '2-4'
"""Counted by the kubelet, for two pods of the how-to; used by nobody, since
emulated processors that outnumber the host's wait for each other."""


class CommandFailed(Exception):
    """A command on the node failed; says which, and what it said."""


class Machine(Running):
    """The lab's machine, from one start to the next.

    :param folder: of its disk and its logs.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.url = f'http://{NODE_ADDRESS}:{AGENT_PORT}'
        self.pfs = {pf.name: pf for pf in load(TOPOLOGY).pfs}
        self._server = Server(
            'machine',
            [
                *(sys.executable, '-m', 'tools.lab', 'run'),
                *('--python', sys.executable),
                *('--topology', TOPOLOGY),
                *('--results', folder / 'machine'),
                *('--disk', folder / 'disk.img'),
                *(word for path in KEPT for word in ('--keep', path)),
                *(word for name in MODULES for word in ('--module', name)),
                *('--kernel-option', f'hugepages={HUGEPAGES}'),
                *('--kernel-option', f'isolcpus={IDLE_CPUS}'),
                *('--start-deadline', '900', '--deadline', '0', '--'),
                *(sys.executable, '-m', 'tools.lab.agent', str(AGENT_PORT)),
            ],
            dict(os.environ),
            folder / 'machine.log',
            self.url,
        )

    def put_disk(self, image: pathlib.Path) -> None:
        """Let it have a copy of this disk."""
        copy = 'cp', '--sparse=always', image, self.folder / 'disk.img'
        subprocess.run(copy, check=True)

    def start(self) -> None:
        self._server.launch()
        self._server.wait_ready(900)

    def stop(self) -> None:
        """Cut the power. Idempotent."""
        self._server.stop()

    def shut_down(self) -> None:
        """End it in order: what was written is on the disk."""
        self.call('end')
        self._server.wait_ended(600)

    def call(self, what: str, **values: Any) -> Any:
        """What the agent answers.

        :raises CommandFailed: it could not do it.
        """
        data = json.dumps(values).encode()
        request = urllib.request.Request(f'{self.url}/{what}', data)
        limit = float(values.get('timeout', 300)) + 30
        try:
            with urllib.request.urlopen(request, timeout=limit) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = json.load(error)
            raise CommandFailed(f'{what} {values}: {said}') from error

    def attempt(
        self, *argv: str, stdin: str = '', timeout: float = 300
    ) -> dict[str, Any]:
        """``status``, ``stdout`` and ``stderr`` of a command on the node."""
        answer: dict[str, Any] = self.call(
            'run', argv=argv, stdin=stdin, timeout=timeout
        )
        return answer

    def run(self, *argv: str, stdin: str = '', timeout: float = 300) -> str:
        """What a command on the node says.

        :raises CommandFailed: its status is not 0.
        """
        done = self.attempt(*argv, stdin=stdin, timeout=timeout)
        if done['status']:
            said = done['stderr'] or done['stdout']
            raise CommandFailed(f'{" ".join(argv)}: {said}')
        return str(done['stdout'])

    def shell(self, script: str, timeout: float = 300) -> str:
        """What a script of bash says.

        :raises CommandFailed: a command of it failed.
        """
        return self.run('bash', '-euc', script, timeout=timeout)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Make a file on the node."""
        self.call('write', path=path, text=text, mode=mode)

    def start_service(self, name: str, *argv: object, **env: str) -> None:
        """Start a program that goes on; its log is in ``/var/log``."""
        words = [str(word) for word in argv]
        log = f'/var/log/{name}.log'
        self.call('start', name=name, argv=words, env=env, log=log)

    def stop_service(
        self, name: str, how: signal.Signals = signal.SIGTERM
    ) -> None:
        """End such a program and wait until it has."""
        self.call('stop', name=name, number=int(how), timeout=300)

    def wait_file(self, path: str, timeout: float = 300) -> None:
        """Return once the node has a file of that name."""
        wait_until(
            lambda: not self.attempt('test', '-e', path)['status'],
            f'{path} on the node',
            timeout,
        )
