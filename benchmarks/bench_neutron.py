# SPDX-License-Identifier: Apache-2.0
"""What a pod with two VIFs costs in requests to a real Neutron.

Prints them beside those that kuryr-kubernetes 6 makes for the same pod: it
is not run; its requests are repeated against the same server, in its order.
Times are of this machine and one client, and shown as a ratio. What Neutron
itself spends on each kind of request is processor time of its one process.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
TESTS = ROOT / 'tests'
sys.path[:0] = [str(ROOT), str(TESTS), str(TESTS / 'neutron')]

from measured import describe_run  # noqa: E402
from neutronlab.kuryr import how_to, location, make_driver  # noqa: E402
from neutronlab.lab import Lab  # noqa: E402

from kuryr_sriov import model  # noqa: E402
from kuryr_sriov.drivers.neutron import NeutronVIFDriver  # noqa: E402

PODS = 10
LISTED = 300
"""Ports that there are when they are listed."""

PAGE = 1000
IDLE = 10.0
"""Seconds for which Neutron is watched while nobody asks it."""

RESULTS = pathlib.Path(__file__).parent / 'results' / 'neutron.json'


def kuryr_kubernetes(lab: Lab) -> Callable[[], None]:
    """The requests of kuryr-kubernetes 6 for a pod with two VIFs.

    Its subnet cache is taken as warm for the port's subnet, as it is by
    default; the network's physnet it reads for every VIF.
    """
    cloud = lab.keystone.connect(
        'kuryr', 'k8s', network_endpoint_override=f'{lab.proxy.url}/v2.0'
    ).network
    nets = (lab.net22, lab.net23)

    def live() -> None:
        uid = str(uuid.uuid4())
        made = []
        for number, net in enumerate(nets):
            cloud.get_subnet(net.subnet)
            cloud.get_network(net.id)
            port = cloud.create_port(
                name=f'pod-{number}',
                network_id=net.id,
                fixed_ips=[{'subnet_id': net.subnet}],
                device_id=uid,
                device_owner='compute:kuryr:sriov',
                binding_vnic_type='direct',
                binding_host_id='node-1',
                is_admin_state_up=True,
            )
            cloud.set_tags(port, ['kuryr'])
            made.append((port, net))
        for number, (port, net) in enumerate(made):
            profile = {
                'pci_slot': f'0000:02:00.{number}',
                'pci_vendor_info': '8086:10ca',
                'physical_network': net.physnet,
            }
            cloud.update_port(port.id, binding_profile=profile)
        for port, _net in made:
            cloud.delete_port(port.id)

    return live


def kuryr_sriov(lab: Lab, folder: pathlib.Path) -> Callable[[], None]:
    """The same by this library, through its driver."""
    driver = make_driver(lab, folder / 'kuryr.conf', resource_tags='kuryr')
    requests = how_to(driver, lab)
    driver._store.load()
    driver._store.known._settled_at = 0.0  # as if it had led for minutes

    def live() -> None:
        pod = model.Pod('default', 'pod', str(uuid.uuid4()), 'node-1')
        for vif in driver.request_vifs(pod, requests):
            driver.activate_vif(pod, vif, location(vif))
        driver.release_vifs(pod)

    return live


def measure(lab: Lab, live: Callable[[], None]) -> tuple[list[str], float]:
    """Requests of one pod, by method, and seconds per pod; caches warm."""
    live()
    with lab.proxy.counted() as calls:
        live()
    start = time.perf_counter()
    for _pod in range(PODS):
        live()
    return calls, (time.perf_counter() - start) / PODS


def kinds(calls: list[str]) -> dict[str, int]:
    """How many requests of each kind."""
    found = dict.fromkeys(
        ('reads', 'creates', 'tags', 'updates', 'deletes'), 0
    )
    for call in calls:
        method, path = call.split()
        kind = {'GET': 'reads', 'POST': 'creates', 'DELETE': 'deletes'}.get(
            method, 'tags' if path.endswith('/tags') else 'updates'
        )
        found[kind] += 1
    return found


class NeutronCpu:
    """Milliseconds of processor time that Neutron spends on requests.

    Without what it spends while nobody asks: its agents run in its process.
    """

    def __init__(self, lab: Lab) -> None:
        self._stat = pathlib.Path(f'/proc/{lab.neutron.server.pid}/stat')
        began, spent = time.monotonic(), self._spent()
        time.sleep(IDLE)
        self._idle = (self._spent() - spent) / (time.monotonic() - began)

    def of(self, do: Callable[[], object], times: int = 1) -> float:
        """Of one of so many calls."""
        began, spent = time.monotonic(), self._spent()
        for _time in range(times):
            do()
        idle = self._idle * (time.monotonic() - began)
        return (self._spent() - spent - idle) / times * 1000

    def _spent(self) -> float:
        words = self._stat.read_text().rpartition(')')[2].split()
        ticks = int(words[11]) + int(words[12])
        return ticks / os.sysconf('SC_CLK_TCK')


def enlarge_pages(lab: Lab) -> None:
    """As long as a cloud's, by default: the lab's are of three ports."""
    lab.neutron.server.stop()
    conf = lab.neutron.folder / 'neutron.conf'
    text, count = re.subn(
        r'(?m)^pagination_max_limit = .*',
        f'pagination_max_limit = {PAGE}',
        conf.read_text(),
    )
    assert count == 1
    conf.write_text(text)
    lab.neutron.server.start()


def neutron_costs(lab: Lab, folder: pathlib.Path) -> dict[str, float]:
    """What Neutron spends, in milliseconds, on each of our requests."""
    enlarge_pages(lab)
    driver = make_driver(lab, folder / 'costs.conf')
    requests = how_to(driver, lab)
    driver._store.load()
    driver._store.known._settled_at = 0.0
    cpu = NeutronCpu(lab)
    pods = [
        model.Pod('default', f'pod-{n}', str(uuid.uuid4()), 'node-1')
        for n in range(LISTED // 2)
    ]
    made = iter(pods)
    vifs: list[model.Vif] = []

    def ask() -> None:
        vifs.extend(driver.request_vifs(next(made), requests))

    costs = {'create the two ports of a pod': cpu.of(ask, len(pods))}
    costs |= listing_costs(cpu, driver, [vif.id for vif in vifs])
    places = iter(
        (pods[n // 2], vif, location(vif, n // 2))
        for n, vif in enumerate(vifs)
    )
    costs['update one, with its VF'] = cpu.of(
        lambda: driver.activate_vif(*next(places)), PODS
    )
    gone = iter(pods)
    both = cpu.of(lambda: driver.release_vifs(next(gone)), len(pods))
    costs['delete one'] = both / 2
    driver.close()
    return costs


def listing_costs(
    cpu: NeutronCpu, driver: NeutronVIFDriver, ids: list[str]
) -> dict[str, float]:
    """Of questions, while there are so many ports."""
    pod = model.Pod('default', 'none', str(uuid.uuid4()), 'node-1')
    every = cpu.of(driver._store.of_cluster, PODS)
    some = cpu.of(lambda: list(driver.find_active(ids[:100])), PODS)
    one = cpu.of(lambda: driver._store.look_for(pod), PODS)
    return {
        'list all ports, each of them': every / len(ids),
        'which of 100 are ACTIVE': some,
        'look for the ports of one pod': one,
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Lab(folder) as lab:
            rows: dict[str, Any] = {
                'kuryr-kubernetes 6': measure(lab, kuryr_kubernetes(lab)),
                'kuryr-sriov': measure(lab, kuryr_sriov(lab, folder)),
            }
            costs = neutron_costs(lab, folder)
    print('requests to Neutron for a pod with two VIFs, attach and detach')
    for label, (calls, _seconds) in rows.items():
        counts = kinds(calls)
        parts = ', '.join(f'{n} {kind}' for kind, n in counts.items() if n)
        print(f'{label:20} {len(calls):3}   {parts}')
    (old, slow), (new, fast) = rows.values()
    print(f'requests {len(new) / len(old):.2f}x, time {fast / slow:.2f}x')
    print('\nprocessor time of Neutron, in milliseconds')
    for label, spent in costs.items():
        print(f'{label:36} {spent:8.2f}')
    RESULTS.parent.mkdir(exist_ok=True)
    results = {'measured': describe_run(), 'milliseconds': costs}
    RESULTS.write_text(json.dumps(results, indent=1) + '\n')
    print(f'as JSON: {RESULTS}')
    return 0 if len(new) == 5 else 1


if __name__ == '__main__':
    sys.exit(main())
