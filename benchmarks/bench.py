# SPDX-License-Identifier: Apache-2.0
"""What importing and attaching cost, as ratios within this run.

Machines differ and are noisy: each figure stands beside a baseline that
was measured in turns with it. Run it with ``make bench``.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.config import loading
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PF = '0000:02:00.0'
CONF = """
[sriov]
physnet_resource_mappings = a:vfio,b:kernel
resource_driver_mappings = vfio:vfio-pci,kernel:netdevice
state_dir = {}
"""
VIF = model.Vif(
    'port',
    'net1',
    'default/net',
    'intel.com/kernel',
    'b',
    'fa:16:3e:00:00:01',
    ('192.168.2.7/24',),
    vlan=3501,
    mtu=1450,
)


def import_time(modules: str) -> float:
    """CPU seconds that a fresh interpreter needs for the import."""
    program = (
        'import time; start = time.process_time()\n'
        f'import {modules}\n'
        'print(time.process_time() - start)'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONDONTWRITEBYTECODE': ''},  # compile once
    )
    return float(done.stdout)


def compare(
    name: str,
    limit: float | None,
    measure: Callable[[], tuple[float, float]],
    rounds: int,
) -> bool:
    """Measure ours and the baseline, print the ratio of medians, judge it."""
    measure()  # once for the caches
    pairs = [measure() for _ in range(rounds)]
    first, second = (
        statistics.median(column) for column in zip(*pairs, strict=True)
    )
    ratios = sorted(a / b for a, b in pairs)
    ratio = first / second
    verdict = '' if limit is None else f'at most {limit}'
    print(
        f'{name:<44} {ratio:5.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})'
        f'  {first * 1000:7.2f} / {second * 1000:.2f} ms  {verdict}'
    )
    return limit is None or ratio <= limit


class Attaching:
    """One VF attached and detached on the simulated node.

    :ivar spent: seconds spent in the ledger, and in the simulated kernel.
    """

    def __init__(self, folder: Path, resource: str) -> None:
        self.simulated = SimulatedNode(folder / 'node', [Pf(PF, 'ens6')])
        file = folder / 'kuryr.conf'
        file.write_text(CONF.format(folder))
        host = self.simulated.host
        self.node = Node(loading.load_config(files=[str(file)]), host=host)
        pci = self.simulated.vfs(PF)[0]
        self.device = model.Device(f'intel.com/{resource}', pci)
        self.vif = dataclasses.replace(VIF, resource=self.device.resource)
        self.sandbox = model.Sandbox(
            'bench',
            self.simulated.add_netns('/run/netns/bench'),
            model.Pod('default', 'bench', 'uid'),
        )
        self.spent: collections.Counter[str] = collections.Counter()
        for name in (
            *('save', 'remove', 'of', 'holder', 'set_aside'),
            *('open_intent', 'close_intent', 'cancel_intents'),
        ):
            self._time('ledger', self.node.ledger, name)
        self._time('kernel', host, 'call')
        self._time('kernel', host.links, '_call')

    def _time(self, where: str, target: object, name: str) -> None:
        method = getattr(target, name)

        @functools.wraps(method)
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.spent[where] += time.perf_counter() - start

        setattr(target, name, timed)

    def attach(self) -> tuple[float, float]:
        """Seconds of one attach without its ledger; those in the kernel."""
        self.spent.clear()
        start = time.perf_counter()
        self.node.attach(self.sandbox, [self.vif], [self.device])
        passed = time.perf_counter() - start - self.spent['ledger']
        in_kernel = self.spent['kernel']
        self.node.detach('bench')
        return passed, in_kernel

    def requests(self) -> dict[str, int]:
        """What one attach asks of the kernel."""
        before = self.simulated.operations.copy()
        self.node.attach(self.sandbox, [self.vif], [self.device])
        after = collections.Counter(self.simulated.operations)
        self.node.detach('bench')
        return dict(sorted((after - before).items()))


def main() -> int:
    """Print all figures; 1 if one is over its limit."""
    print(f'{"":<44} ratio  (spread)       ours / baseline')
    good = [
        compare(
            'import kuryr_sriov.binding.base',
            2.0,
            lambda: (
                import_time('kuryr_sriov.binding.base'),
                import_time('abc, collections.abc, importlib, typing'),
            ),
            21,
        ),
        compare(
            'import kuryr_sriov.node',
            1.2,
            lambda: (
                import_time('kuryr_sriov.node'),
                import_time('oslo_config.cfg, stevedore, msgspec, sqlite3'),
            ),
            11,
        ),
    ]
    for resource in ('kernel', 'vfio'):
        with tempfile.TemporaryDirectory() as folder:
            attaching = Attaching(Path(folder), resource)
            compare(
                f'attach ({resource}), to its kernel operations alone',
                None,
                attaching.attach,
                200,
            )
            requests = attaching.requests()
            listed = ', '.join(f'{k} {n}' for k, n in requests.items())
            print(f'  requests: {sum(requests.values())} ({listed})')
            attaching.node.close()
            attaching.simulated.close()
    return 0 if all(good) else 1


if __name__ == '__main__':
    sys.exit(main())
