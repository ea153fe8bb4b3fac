# SPDX-License-Identifier: Apache-2.0
"""What is measured of one size of cluster, phase by phase."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Iterator

from scale_cluster import PAUSE, Crowd, MeasuredReplica, is_write
from scale_neutron import HANGS, NeutronStandIn, subnet_of

# scale_cluster has said where these are
from kubelab.cluster import Cluster  # isort: skip
from servers import wait_for  # isort: skip

from kuryr_sriov.drivers.neutron.port_cache import SETTLING

DELETED = 1000
NEWCOMERS = 100
SECONDS = 1800.0

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
class Spent:
    """What a phase took: seconds, of the controller's CPU too, and requests.

    :ivar api: to the API server, by verb and resource; neutron likewise.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    api: dict[str, int] = dataclasses.field(default_factory=dict)
    neutron: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def api_writes(self) -> int:
        return sum(n for what, n in self.api.items() if is_write(what))

    @property
    def api_reads(self) -> int:
        return sum(self.api.values()) - self.api_writes

    @property
    def neutron_reads(self) -> int:
        return sum(
            n for what, n in self.neutron.items() if what.startswith('GET')
        )

    @property
    def neutron_writes(self) -> int:
        return sum(self.neutron.values()) - self.neutron_reads


@dataclasses.dataclass
class Row:
    """One size of cluster, with one driver. Each phase by its name.

    :ivar publish: a controller that starts and finds pods without VIFs.
    :ivar activate: their nodes report; one write each is the nodes'.
    :ivar newcomers: pods that are made once it leads for minutes.
    :ivar storm: each pod is changed once, in what is nothing to us.
    :ivar failover: seconds from the death of one to the work of the other.
    :ivar rss: MiB, at most until all are active.
    :ivar standby_rss: of a replica that waits for its turn.
    :ivar standby_cpu: seconds that it took to start.
    """

    driver: str
    pods: int
    publish: Spent = dataclasses.field(default_factory=Spent)
    activate: Spent = dataclasses.field(default_factory=Spent)
    newcomers: Spent = dataclasses.field(default_factory=Spent)
    storm: Spent = dataclasses.field(default_factory=Spent)
    restart: Spent = dataclasses.field(default_factory=Spent)
    deletion: Spent = dataclasses.field(default_factory=Spent)
    failover: float = 0.0
    rss: float = 0.0
    standby_rss: float = 0.0
    standby_cpu: float = 0.0


class Bench:
    """One API server, which has no pods at first."""

    def __init__(
        self, cluster: Cluster, neutron: NeutronStandIn, folder: pathlib.Path
    ) -> None:
        self.crowd = Crowd(cluster)
        self.cluster = cluster
        self.neutron = neutron
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
            cluster.make_nad(name, subnet_of(net))

    def replica(self, name: str, driver: str) -> MeasuredReplica:
        part = LOCAL if driver == 'local' else NEUTRON
        text = part.format(folder=self.folder, url=self.neutron.url)
        return MeasuredReplica(self.cluster, self.folder, name, COMMON + text)

    def settle(self, replica: MeasuredReplica) -> None:
        """Return once it has nothing to do, and writes nothing."""
        seen = -1

        def quiet() -> bool:
            nonlocal seen
            last, seen = seen, self._spent().api_writes
            return replica.gauge('queue_depth') == 0 and last == seen

        wait_for(quiet, SECONDS, 'the controller to have nothing to do', PAUSE)

    @contextlib.contextmanager
    def spent(self, phase: Spent, replica: MeasuredReplica) -> Iterator[None]:
        """Fill in what the block took, which waits for its end.

        What comes after it until nothing is left to do counts, too, but for
        the seconds. A replica that starts in the block has used no CPU yet.
        """
        before, cpu = self._spent(), replica.cpu()
        began = time.monotonic()
        yield
        phase.seconds = time.monotonic() - began
        self.settle(replica)
        after = self._spent()
        phase.cpu = replica.cpu() - cpu
        for kind in ('api', 'neutron'):
            counts = collections.Counter(getattr(after, kind))
            counts.subtract(getattr(before, kind))
            setattr(phase, kind, {what: n for what, n in counts.items() if n})

    def _spent(self) -> Spent:
        return Spent(api=self.crowd.requests(), neutron=self.neutron.counts())

    def measure(self, count: int, driver: str) -> Row:
        """All phases of one size."""
        row = Row(driver, count)
        names = [f'pod-{number:05}' for number in range(count)]
        self.crowd.make_pods(names)
        first, second = (self.replica(name, driver) for name in ('one', 'two'))
        try:
            with self.spent(row.publish, first):
                first.start_leading()
                leads_since = time.monotonic()
                first.wait_ports(count)
            self._activate(row, first)
            with self.spent(row.storm, first):
                self.crowd.touch_pods(names)
            if driver == 'neutron':
                wait_for(
                    lambda: time.monotonic() > leads_since + SETTLING + 5,
                    SETTLING + 10,
                    'requests of a predecessor to be out of the question',
                )
            self._add_newcomers(row, first)
            first.terminate()
            with self.spent(row.restart, first):
                first.start_leading()
            self._fail_over(row, first, second)
            second.wait_ports(count + NEWCOMERS)
            with self.spent(row.deletion, second):
                self.crowd.delete_pods(names[:DELETED])
                second.wait_ports(count + NEWCOMERS - len(names[:DELETED]))
        finally:
            first.close()
            second.close()
        return row

    def _activate(self, row: Row, replica: MeasuredReplica) -> None:
        with self.spent(row.activate, replica):
            written = self._spent().api_writes
            self.crowd.report_attached()
            wait_for(
                lambda: self._spent().api_writes >= written + 2 * row.pods,
                SECONDS,
                f'{row.pods} reports and verdicts',
                PAUSE,
            )
            wait_for(
                lambda: self.crowd.count_active() == row.pods,
                SECONDS,
                f'{row.pods} pods to be active',
                10.0,
            )
        row.rss = replica.rss()

    def _add_newcomers(self, row: Row, replica: MeasuredReplica) -> None:
        names = [f'new-{number:03}' for number in range(NEWCOMERS)]
        with self.spent(row.newcomers, replica):
            self.crowd.make_pods(names)
            replica.wait_ports(row.pods + NEWCOMERS)

    def _fail_over(
        self, row: Row, first: MeasuredReplica, second: MeasuredReplica
    ) -> None:
        second.start()
        wait_for(second.is_ready, 120, 'the other replica to be ready')
        row.standby_rss, row.standby_cpu = second.rss(), second.cpu()
        first.kill()
        began = time.monotonic()
        second.wait_working()
        row.failover = time.monotonic() - began

    def beside_a_hung_subnet(self) -> tuple[float, float]:
        """Seconds for 200 pods: alone, and behind 100 whose subnet hangs."""
        took = []
        for hanging in (0, 100):
            replica = self.replica(f'hang-{hanging}', 'neutron')
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


@contextlib.contextmanager
def start_bench() -> Iterator[Bench]:
    """A fresh API server, and a fresh stand-in for Neutron."""
    with (
        tempfile.TemporaryDirectory() as name,
        Cluster(pathlib.Path(name)) as cluster,
        NeutronStandIn() as neutron,
    ):
        yield Bench(cluster, neutron, pathlib.Path(name))
