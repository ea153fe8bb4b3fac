# SPDX-License-Identifier: Apache-2.0
"""``make cluster``, ``make cluster-shell`` and ``make images``."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from kubelab.install import ensure_installed, ensure_runtime_installed
from neutronlab.install import ensure_installed as ensure_neutron_installed
from servers import cache_folder

from tools.lab.errors import LabError
from tools.lab.orders import scratch_folders
from tools.lab.prepare import prepare
from tools.lab.process import need
from tools.lab.topology import NODE_ADDRESS

from . import images
from .cluster import Cluster
from .machine import REPOSITORY

ENTER = f"""
ip link set lo up
ip route add local {NODE_ADDRESS} dev lo src 127.0.0.1
exec "$@"
"""
"""In a network namespace of its own, where nothing of the host is reached,
and the node's machine has an address."""

NODE_SHELL = """\
apiVersion: v1
kind: Pod
metadata:
  name: node-shell
  namespace: kube-system
spec:
  hostPID: true
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - name: shell
    image: nginx:1.29
    securityContext:
      privileged: true
"""

WELCOME = """\
kubectl ...   the cluster's administrator
node          a root shell on its node
Logs are in {folder}. The cluster ends with this shell.
"""


def make_all() -> None:
    """Build and fetch what is missing: needs the network.

    :raises LabError: the node would not see it.
    """
    programs = cache_folder('runtime')
    for folder in scratch_folders(pathlib.Path(sys.executable), REPOSITORY):
        if folder in programs.parents:
            raise LabError(
                f'{programs} is in {folder}, which begins empty in the node',
                'set KURYR_SRIOV_RUNTIME_CACHE or HOME to a folder elsewhere',
            )
    ensure_installed()
    ensure_runtime_installed()
    ensure_neutron_installed()
    prepare(pathlib.Path(sys.executable), REPOSITORY)
    images.ensure_disk()


def isolated(*words: str) -> int:
    """Status of a command without the host's network."""
    command = need('unshare', 'util-linux'), '--net', 'sh', '-euc', ENTER
    return subprocess.run([*command, 'sh', *words], check=False).returncode


def run_shell() -> None:
    """A cluster for a person."""
    with tempfile.TemporaryDirectory(prefix='cluster-') as name:
        folder = pathlib.Path(name)
        with Cluster(folder) as cluster:
            plane = cluster.plane
            plane.run('apply', '-f', '-', stdin=NODE_SHELL)
            tools = folder / 'bin'
            tools.mkdir()
            (tools / 'kubectl').symlink_to(plane.kubectl)
            enter = tools / 'node'
            enter.write_text(
                '#!/bin/sh\n'
                'exec kubectl exec -it -n kube-system node-shell --'
                ' nsenter -t 1 -m -u -i -n -p bash\n'
            )
            enter.chmod(0o755)
            env = os.environ | {
                'KUBECONFIG': str(plane.api.kubeconfig('admin')),
                'PATH': f'{tools}:{os.environ["PATH"]}',
            }
            print(WELCOME.format(folder=folder))
            subprocess.run(['bash', '--norc', '-i'], env=env, check=False)


def main(action: str, *words: str) -> int:
    """``test PYTEST-ARGUMENT ...``, ``shell``, or ``images``."""
    if action == 'images':
        for archive in images.ensure_daemon_images().values():
            print(archive)
        return 0
    if action == 'shell-inside':
        run_shell()
        return 0
    make_all()
    if action == 'shell':
        return isolated(sys.executable, '-m', __package__, 'shell-inside')
    return isolated(sys.executable, '-m', 'pytest', *choose_tests(words))


def choose_tests(words: Sequence[str]) -> Sequence[str]:
    """Words for pytest: what they choose, or what is done in ten minutes."""
    paths = [REPOSITORY / word.split('::')[0] for word in words if word]
    if any(path.exists() for path in paths):
        return words
    chosen = not {'-k', '-m'}.isdisjoint(words)
    usual = () if chosen else ('-m', 'not slow')
    return *usual, *words, str(REPOSITORY / 'tests/cluster')


if __name__ == '__main__':
    try:
        sys.exit(main(*sys.argv[1:]))
    except LabError as error:
        sys.exit(f'cluster: error: {error}')
