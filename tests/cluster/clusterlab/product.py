# SPDX-License-Identifier: Apache-2.0
"""This tree's daemons, installed as the page on installation says."""

from __future__ import annotations

import contextlib
import pathlib
import shutil

from kubelab.cluster import place

from . import page
from .cloud import Cloud
from .controlplane import ControlPlane, KubectlFailed
from .machine import REPOSITORY, Machine
from .traces import LEDGER

NAMESPACE = 'kuryr-sriov'
NODE_DAEMON = 'daemonset/kuryr-sriov-node'
CONTROLLER = 'deployment/kuryr-sriov-controller'

INSTALLATION = REPOSITORY / 'doc/source/installation.rst'

CREDENTIALS = 'deploy/overlays/neutron/neutron.conf'
CONF = 'deploy/overlays/neutron/kuryr.conf'
PATIENCE = """
[sriov_controller]
# A busy host may not run the emulated node for many seconds.
lease_duration = 60
"""
EDITED = (
    CONF,
    'examples/howto/multus.yaml',
    'examples/howto/sriov-net1.yaml',
    'examples/howto/sriov-net2.yaml',
)
"""What has the ids of subnets in it."""

WAIT = """\
import sqlite3, sys, time
ledger = sqlite3.connect(f'file:{sys.argv[2]}?mode=ro', uri=True)
end = time.monotonic() + 580
while True:
    (found,) = ledger.execute('SELECT count(*) FROM attachment').fetchone()
    if found COUNT:
        break
    if time.monotonic() > end:
        sys.exit(f'{found} records in the ledger')
    time.sleep(0.01)
"""

KILL = """\
import os, pathlib, signal, sys
killed = 0
for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    try:
        words = path.read_bytes().split(b'\\0')
    except OSError:
        continue
    # the second word: its first one is the interpreter
    if words[1:2] and words[1].endswith(sys.argv[1].encode()):
        os.kill(int(path.parent.name), signal.SIGKILL)
        killed += 1
if not killed:
    sys.exit('no such process')
"""


class Product:
    """Controller and node daemon, from ``deploy/overlays/neutron``.

    :param folder: of the repository's files with the cloud's values.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        machine: Machine,
        plane: ControlPlane,
        cloud: Cloud,
    ) -> None:
        self._folder = folder
        self._machine = machine
        self._plane = plane
        self._cloud = cloud

    def install(self, more: str = '') -> None:
        """What the how-to says up to its fifth step.

        :param more: to be added to ``kuryr.conf``.
        """
        self.write_files(more)
        for block in page.section(5):
            self.follow(block)
            self.wait_rolled_out()

    def misconfigure(self, more: str) -> None:
        """The same with something wrong in ``kuryr.conf``; wait for nobody."""
        self.write_files(more)
        block, *_networks = page.section(5)
        self.follow(block)

    def write_files(self, more: str = '') -> None:
        """What a reader of the how-to would edit, edited."""
        for name in ('deploy', 'examples/howto'):
            target = self._folder / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(REPOSITORY / name, target)
        for name in EDITED:
            file = self._folder / name
            file.write_text(self._cloud.localize(file.read_text()))
        with open(self._folder / CONF, 'a') as conf:
            conf.write(PATIENCE + more)
        (self._folder / CREDENTIALS).write_text(self._cloud.credentials())

    def follow(self, block: page.Block) -> None:
        """Do what a block of the page says, in those files."""
        for program, *words in block.commands():
            assert program == 'kubectl', program
            self._plane.run(*words, folder=self._folder)

    def apply(self, name: str) -> None:
        """Have the objects of one of those files."""
        self._plane.run('apply', '-f', name, folder=self._folder)

    def remove_daemons(self) -> None:
        """Delete both, as the page on installation says.

        Its second command would delete networks and objects, too.
        """
        text = INSTALLATION.read_text()
        block = next(b for b in page.blocks(text) if b.title == 'Uninstall')
        (program, *first), _rest, *_patch = block.commands()
        assert program == 'kubectl', program
        self._plane.run(*first, timeout=600)
        self._plane.run(
            *('delete', CONTROLLER, '-n', NAMESPACE, '--cascade=foreground'),
            timeout=600,
        )

    def wait_rolled_out(self) -> None:
        """Return once both daemons work as they are described."""
        for what in (NODE_DAEMON, CONTROLLER):
            self._plane.run(
                *('rollout', 'status', what, '-n', NAMESPACE),
                '--timeout=600s',
                timeout=630,
            )

    def leader(self) -> str:
        """Identity of the controller that acts; empty if none does."""
        name = 'kuryr-sriov-controller'
        lease = self._plane.get(f'{place("Lease", NAMESPACE)}/{name}')
        return str(lease['spec'].get('holderIdentity') or '')

    def read_log(self) -> str:
        """What the node daemon says; empty while its container is made."""
        with contextlib.suppress(KubectlFailed):
            return self._plane.run('logs', '-n', NAMESPACE, NODE_DAEMON)
        return ''

    def kill_node_daemon(self, count: str = '>= 0') -> None:
        """Kill it as the kernel does when memory runs out.

        :param count: of records in the ledger, for which this waits.
        """
        script = WAIT.replace('COUNT', count) + KILL
        program = 'bin/kuryr-sriov-node'
        self._machine.run(
            *('python3', '-Ic', script, program, LEDGER), timeout=600
        )

    def kill_controllers(self) -> None:
        """Kill both of its replicas in that way."""
        self._machine.run('python3', '-Ic', KILL, 'bin/kuryr-sriov-controller')
