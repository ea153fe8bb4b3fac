# SPDX-License-Identifier: Apache-2.0
"""``cnitool``, the CNI project's own: a runtime of flesh and blood."""

import json
import os
import pathlib
import subprocess

PRIMARY = pathlib.Path(__file__).parent / 'primary.py'

IN_A_NAMESPACE = """
mount -t tmpfs none /var/lib
mkdir /var/lib/cni
mount --bind "$CACHE" /var/lib/cni
exec "$@"
"""
"""libcni keeps results in /var/lib/cni; these tests keep them apart."""


def previous(version, netns):
    """What the primary CNI answers."""
    ip = {'address': '10.1.0.5/16', 'gateway': '10.1.0.1', 'interface': 0}
    if version in ('0.3.1', '0.4.0'):
        ip['version'] = '4'
    return {
        'cniVersion': version,
        'interfaces': [
            {'name': 'eth0', 'mac': '02:00:00:00:00:02', 'sandbox': netns}
        ],
        'ips': [ip],
        'dns': {},
    }


class CniTool:
    """Runs ``cnitool`` for one pod of a network.

    :param folder: for its configuration and its cache.
    """

    def __init__(self, folder, program, plugin, socket, pod, uid, netns):
        self._folder = folder
        self._program = program
        self._netns = netns
        self._bin = folder / 'bin'
        self._net = folder / 'net.d'
        self._cache = folder / 'cache'
        for each in (self._bin, self._net, self._cache):
            each.mkdir(parents=True)
        (self._bin / 'primary').symlink_to(PRIMARY)
        (self._bin / 'kuryr-sriov').symlink_to(plugin)
        self._environment = {
            'PATH': os.environ['PATH'],
            'CACHE': str(self._cache),
            'CNI_PATH': str(self._bin),
            'NETCONFPATH': str(self._net),
            'CNI_ARGS': f'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;'
            f'K8S_POD_NAME={pod};K8S_POD_UID={uid}',
            'KURYR_SRIOV_CNI_SOCKET': str(socket),
            'KURYR_SRIOV_CNI_DEADLINE': '30',
        }

    def configure(self, name, version, *plugins):
        """Write a network's list of plugins."""
        found = {'cniVersion': version, 'name': name, 'plugins': plugins}
        path = self._net / f'10-{name}.conflist'
        path.write_text(json.dumps(found))

    def chain(self, version):
        """A primary CNI, and this project's plugin after it."""
        answer = previous(version, self._netns)
        primary = {'type': 'primary', 'answer': answer}
        self.configure('pods', version, primary, {'type': 'kuryr-sriov'})

    def run(self, command, network='pods', ifname='eth0', runtime_config=None):
        """Status and output of ``cnitool COMMAND``."""
        environment = {**self._environment, 'CNI_IFNAME': ifname}
        if runtime_config:
            environment['CAP_ARGS'] = json.dumps(runtime_config)
        ended = subprocess.run(
            [
                *('unshare', '--map-root-user', '--mount', 'sh', '-ec'),
                *(IN_A_NAMESPACE, 'sh', self._program),
                *(command, network, self._netns),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return ended.returncode, ended.stdout

    def succeed(self, *args, **named):
        """The result, None where there is none."""
        status, output = self.run(*args, **named)
        assert status == 0, output
        return json.loads(output) if output.strip() else None

    def fail(self, *args, **named):
        """What it says."""
        status, output = self.run(*args, **named)
        assert status != 0, output
        return output
