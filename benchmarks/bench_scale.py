# SPDX-License-Identifier: Apache-2.0
"""What the controller costs with thousands of pods, on a real API server.

Each pod has two VIFs. With the ``local`` driver, and with a stand-in for
Neutron that takes 50 ms for each answer. Times are of this machine: what is
to be read off is what a pod costs, and whether that grows with their number.
Run it with ``make bench-scale``; with numbers of pods for other ones.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator

from scale_cluster import (
    Crowd,
    MeasuredReplica,
    writes_of,
)
from scale_neutron import HANGS, NeutronStandIn, subnet_of

# scale_cluster has said where these are
from kubelab.cluster import Cluster  # isort: skip
from servers import wait_for  # isort: skip

SIZES = 1000, 3000, 10000
DELETED = 1000
RESULTS = pathlib.Path(__file__).parent / 'results' / 'scale.json'

COMMON = """
[sriov]
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
"""
LOCAL = """
vif_driver = local
[sriov_local]
subnets_file = {folder}/subnets.yaml
database = {folder}/local.sqlite
"""
NEUTRON = """
vif_driver = neutron
[neutron]
auth_type = none
endpoint_override = {url}
timeout = 10
"""
NETS = {'net22': 'n22', 'net23': 'n23', 'net-hangs': HANGS}


@dataclasses.dataclass
class Row:
    """One size of cluster, with one driver.

    Seconds, MiB, and numbers for each pod where the name says so.
    """

    driver: str
    pods: int
    published: float = 0.0
    cpu_ms_per_pod: float = 0.0
    api_writes_per_pod: float = 0.0
    api_reads: int = 0
    activated: float = 0.0
    api_writes_per_activated_pod: float = 0.0
    neutron_writes_per_pod: float = 0.0
    neutron_reads: int = 0
    rss: float = 0.0
    writes_in_storm: int = 0
    restart: float = 0.0
    writes_at_restart: int = 0
    failover: float = 0.0
    deleted: float = 0.0


class Bench:
    """One API server, which has no pods at first."""

    def __init__(self, cluster: Cluster, folder: pathlib.Path) -> None:
        self.crowd = Crowd(cluster)
        self.cluster = cluster
        self.folder = folder
        (folder / 'subnets.yaml').write_text(
            'subnets:\n'
            + ''.join(
                f'- {{id: {subnet_of(net)}, network: {net},'
                f' physnet: physnet{net[1:]}, cidr: 10.{net[1:]}.0.0/16}}\n'
                for net in ('n22', 'n23')
            )
        )
        for name, net in NETS.items():
            config = {'driverType': 'sriov', 'subnetId': subnet_of(net)}
            cluster.create(
                {
                    'apiVersion': 'k8s.cni.cncf.io/v1',
                    'kind': 'NetworkAttachmentDefinition',
                    'metadata': {
                        'name': name,
                        'annotations': {
                            'openstack.org/kuryr-config': json.dumps(config)
                        },
                    },
                }
            )

    def configure(self, driver: str, neutron: NeutronStandIn) -> str:
        """The driver's part of kuryr.conf."""
        if driver == 'local':
            return LOCAL.format(folder=self.folder)
        return NEUTRON.format(url=neutron.url)

    def replica(self, name: str, driver: str) -> MeasuredReplica:
        return MeasuredReplica(
            self.cluster, self.folder, name, COMMON + driver
        )

    def settle(self, replica: MeasuredReplica) -> None:
        """Return once it has nothing to do, and writes nothing."""
        seen = -1

        def quiet() -> bool:
            nonlocal seen
            last, seen = seen, writes_of(self.crowd.requests())
            return replica.gauge('queue_depth') == 0 and last == seen

        wait_for(quiet, 600, 'the controller to have nothing to do')

    def measure(self, count: int, driver: str, neutron: NeutronStandIn) -> Row:
        """All phases of one size."""
        row = Row(driver, count)
        names = [f'pod-{number:05}' for number in range(count)]
        self.crowd.make_pods(names)
        first, second = (
            self.replica(name, self.configure(driver, neutron))
            for name in ('one', 'two')
        )
        try:
            self._publish(row, first, neutron)
            self._activate(row, first, neutron)
            self._storm(row, first, names)
            self._restart(row, first)
            self._fail_over(row, first, second)
            self._delete(row, second, names)
        finally:
            first.close()
            second.close()
        return row

    def _publish(
        self,
        row: Row,
        replica: MeasuredReplica,
        neutron: NeutronStandIn,
    ) -> None:
        asked = self.crowd.requests()
        provider = collections.Counter(neutron.counts())
        replica.start_leading()
        began = time.monotonic()
        replica.wait_ports(row.pods)
        row.published = time.monotonic() - began
        self.settle(replica)
        asked = self.crowd.requests() - asked
        row.cpu_ms_per_pod = replica.cpu() / row.pods * 1000
        row.api_writes_per_pod = writes_of(asked) / row.pods
        row.api_reads = asked.total() - writes_of(asked)
        self._count(row, neutron, provider)

    @staticmethod
    def _count(
        row: Row, neutron: NeutronStandIn, before: collections.Counter[str]
    ) -> None:
        asked = collections.Counter(neutron.counts()) - before
        reads = sum(n for what, n in asked.items() if what.startswith('GET'))
        row.neutron_reads += reads
        row.neutron_writes_per_pod += (asked.total() - reads) / row.pods

    def _activate(
        self,
        row: Row,
        replica: MeasuredReplica,
        neutron: NeutronStandIn,
    ) -> None:
        before = self.crowd.requests()
        provider = collections.Counter(neutron.counts())
        began = time.monotonic()
        self.crowd.report_attached()
        self.settle(replica)
        row.activated = time.monotonic() - began
        writes = writes_of(self.crowd.requests() - before) - row.pods
        row.api_writes_per_activated_pod = writes / row.pods
        self._count(row, neutron, provider)
        active = sum(
            any(
                (one['type'], one['status']) == ('Active', 'True')
                for one in body['status'].get('conditions', ())
            )
            for body in self.crowd.list_ports()
        )
        assert active == row.pods, f'{active} of {row.pods} are active'
        row.rss = replica.rss()

    def _storm(
        self, row: Row, replica: MeasuredReplica, names: list[str]
    ) -> None:
        before = self.crowd.requests()
        self.crowd.touch_pods(names)
        self.settle(replica)
        writes = writes_of(self.crowd.requests() - before)
        row.writes_in_storm = writes - len(names)

    def _restart(self, row: Row, replica: MeasuredReplica) -> None:
        replica.terminate()
        before = self.crowd.requests()
        began = time.monotonic()
        replica.start_leading()
        row.restart = time.monotonic() - began
        self.settle(replica)
        row.writes_at_restart = writes_of(self.crowd.requests() - before)

    def _fail_over(
        self, row: Row, first: MeasuredReplica, second: MeasuredReplica
    ) -> None:
        second.start()
        wait_for(second.is_ready, 120, 'the other replica to be ready')
        first.kill()
        began = time.monotonic()
        second.wait_working()
        row.failover = time.monotonic() - began

    def _delete(
        self, row: Row, replica: MeasuredReplica, names: list[str]
    ) -> None:
        replica.wait_ports(row.pods)
        began = time.monotonic()
        self.crowd.delete_pods(names[:DELETED])
        replica.wait_ports(len(names[DELETED:]))
        row.deleted = time.monotonic() - began

    def beside_a_hung_subnet(
        self, neutron: NeutronStandIn
    ) -> tuple[float, float]:
        """Seconds for 200 pods: alone, and behind 100 whose subnet hangs."""
        took = []
        driver = self.configure('neutron', neutron)
        for hanging in (0, 100):
            replica = self.replica(f'hang-{hanging}', driver)
            try:
                names = [f'hung-{number:05}' for number in range(hanging)]
                self.crowd.make_pods(names, 'net-hangs,net23')
                others = [f'pod-{number:05}' for number in range(200)]
                self.crowd.make_pods(others)
                replica.start_leading()
                began = time.monotonic()
                wait_for(
                    lambda: len(list(self.crowd.list_ports())) >= 200,
                    600,
                    'the pods of the other subnets',
                )
                took.append(time.monotonic() - began)
                self.crowd.delete_pods(names + others)
                replica.wait_ports(0)
            finally:
                replica.close()
        return took[0], took[1]


def show(row: Row) -> None:
    """One line of the table, under the names of its columns."""
    print(
        f'{row.driver:8}{row.pods:6}{row.published:9.1f}'
        f'{row.cpu_ms_per_pod:9.1f}{row.api_writes_per_pod:7.2f}'
        f'{row.api_writes_per_activated_pod:7.2f}'
        f'{row.neutron_writes_per_pod:9.2f}{row.neutron_reads:7}'
        f'{row.rss:8.0f}{row.writes_in_storm:7}{row.restart:9.1f}'
        f'{row.writes_at_restart:7}{row.failover:9.1f}{row.deleted:9.1f}',
        flush=True,
    )


HEADER = (
    'driver    pods  publish      CPU  API writes     Neutron  '
    '        RSS  storm  restart        failover  1000 gone\n'
    '                      s   ms/pod  made active   writes  reads'
    '     MiB writes        s writes        s         s'
)


@contextlib.contextmanager
def start_bench() -> Iterator[tuple[Bench, NeutronStandIn]]:
    """A fresh API server, and a fresh stand-in for Neutron."""
    with (
        tempfile.TemporaryDirectory() as name,
        Cluster(pathlib.Path(name)) as cluster,
        NeutronStandIn() as neutron,
    ):
        yield Bench(cluster, pathlib.Path(name)), neutron


def main(sizes: list[int]) -> int:
    rows = []
    print(HEADER, flush=True)
    for count in sizes:
        for driver in ('local', 'neutron'):
            with start_bench() as (bench, neutron):
                rows.append(bench.measure(count, driver, neutron))
            show(rows[-1])
    with start_bench() as (bench, neutron):
        alone, behind = bench.beside_a_hung_subnet(neutron)
    print(
        f'200 pods alone {alone:.1f} s, behind 100 whose subnet hangs '
        f'{behind:.1f} s'
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                'sizes': [dataclasses.asdict(row) for row in rows],
                'hung_subnet': {'alone': alone, 'behind': behind},
            },
            indent=1,
        )
        + '\n'
    )
    print(f'as JSON: {RESULTS}')
    return 0


if __name__ == '__main__':
    sys.exit(main([int(word) for word in sys.argv[1:]] or list(SIZES)))
