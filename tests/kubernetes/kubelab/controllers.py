# SPDX-License-Identifier: Apache-2.0
"""The controller's processes, each behind a proxy that can make faults."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

from faults import FaultProxy
from servers import LOOPBACK, wait_for

from .cluster import OURS, ApiError, Cluster, place

PROGRAM = pathlib.Path(sys.executable).with_name('kuryr-sriov-controller')

LEASE = f'{place("Lease", OURS)}/kuryr-sriov-controller'

LEASE_DURATION = 6.0
"""Seconds: long enough for a machine that has more to do."""

LOCAL = """
[sriov]
vif_driver = local
default_physnet_subnets = physnet22:wide22,physnet23:wide23
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
orphan_grace = 0
[sriov_local]
subnets_file = {folder}/subnets.yaml
database = {folder}/local.sqlite
"""

SUBNETS = """
subnets:
- {id: wide22, network: n22, physnet: physnet22, cidr: 10.22.0.0/16}
- {id: wide23, network: n23, physnet: physnet23, cidr: 10.23.0.0/16}
"""

DAEMON = """
[sriov_daemon]
api_root = {url}
log_level = DEBUG
[sriov_controller]
lease_duration = {duration}
http_host = {host}
http_port = 0
orphan_period = 2
confirm_period = 0.5
"""


class Replica:
    """One process of the controller.

    :param folder: shared by all replicas, for what their driver keeps.
    :param name: of its pod.
    :param configuration: the whole of its kuryr.conf.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: pathlib.Path,
        name: str,
        configuration: str,
    ) -> None:
        self.name = name
        self._cluster = cluster
        self.log = folder / f'{name}.log'
        self._conf = folder / f'{name}.conf'
        self._conf.write_text(configuration)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process, which runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it may have to wait for its turn."""
        with open(self.log, 'ab') as log:
            self._process = subprocess.Popen(
                [PROGRAM, '--config-file', self._conf],
                env={**os.environ, 'POD_NAME': self.name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_leading(self) -> None:
        """Start it; return once it works."""
        self.start()
        self.wait_working()

    def wait_working(self) -> None:
        """Return once it leads and has read everything."""
        wait_for(self.works, 120, f'{self.name} to lead\n{self.tail()}')

    def works(self) -> bool:
        """Whether it leads, knows that it does, and has read everything."""
        # The lease names it before it has the answer. Until then it is
        # ready, as a replica is that waits for its turn.
        leader = 'kuryr_sriov_controller_leader 1.0'
        knows = leader in self.ask('/metrics')[1].splitlines()
        return knows and self.leads() and self.is_ready()

    def is_ready(self) -> bool:
        """Whether the kubelet would say so."""
        return self.ask('/readyz')[0] == 200

    def leads(self) -> bool:
        """Whether the lease is its."""
        return holder(self._cluster).startswith(f'{self.name}_')

    def ask(self, path: str) -> tuple[int, str]:
        """What it answers to probes, and metrics; 0 for nothing."""
        ports = re.findall(r'health and metrics on port (\d+)', self.tail(-1))
        if not ports:
            return 0, ''
        url = f'http://{LOOPBACK}:{ports[-1]}{path}'
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ''

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = self.ask('/metrics')[1].splitlines()
        (value,) = (
            line.split()[1] for line in lines if line.startswith(f'{name} ')
        )
        return float(value)

    def kill(self) -> None:
        """End it as a crash would. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def suspend(self) -> None:
        """As a machine does that has no time for it."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it was."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def terminate(self) -> int:
        """Tell it to end, as the kubelet does; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self.wait_ended()

    def wait_ended(self) -> int:
        """Its exit status."""
        process, self._process = self._process, None
        assert process is not None
        try:
            return process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ''
        text = self.log.read_text(errors='replace')
        return text if lines < 0 else '\n'.join(text.splitlines()[-lines:])

    def close(self) -> None:
        """End the process."""
        self.kill()


class ControllerProcess(Replica):
    """One replica behind a proxy; suspended, cut off and ended by tests.

    Its credentials are in the proxy: it has none of its own.

    :param configuration: of the driver; see ``LOCAL``.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: pathlib.Path,
        name: str,
        configuration: str,
        lease_duration: float = LEASE_DURATION,
    ) -> None:
        self.proxy = FaultProxy(
            cluster.port, cluster.ca, {'Authorization': 'Bearer controller'}
        )
        daemon = DAEMON.format(
            url=self.proxy.url, duration=lease_duration, host=LOOPBACK
        )
        super().__init__(cluster, folder, name, configuration + daemon)
        self.proxy.start()

    def writes(self) -> list[str]:
        """What it has written to the API server, but for its lease."""
        return [
            str(call)
            for call in list(self.proxy.calls)
            if call.method != 'GET' and '/leases' not in call.path
        ]

    def close(self) -> None:
        """End process and proxy."""
        super().close()
        self.proxy.stop()


def holder(cluster: Cluster) -> str:
    """Whose the lease is; empty for nobody's."""
    try:
        lease: Any = cluster.call('GET', LEASE)
    except ApiError as error:
        if error.code != 404:
            raise
        return ''
    return str(lease['spec'].get('holderIdentity') or '')
