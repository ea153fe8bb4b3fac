# SPDX-License-Identifier: Apache-2.0
"""What importing and attaching cost, as ratios within this run.

Machines differ and are noisy: each figure stands beside a baseline that
was measured in turns with it. Run it with ``make bench``.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import json
import os
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


IMPORT_LIMIT = 1.55
"""How many times as long as its libraries all that a node needs may take.

Half of the difference is code to read, the other half dataclasses to make, of
which the interpreter compiles each anew. Which modules are loaded is pinned in
tests/unit/test_node_imports.py; this is for what they do meanwhile.
"""


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


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How long ours takes, and how long its baseline.

    :param ours: milliseconds; so is ``baseline``.
    :param limit: of the ratio; None for one that is only shown.
    :param requests: what it asks of the kernel, counted by name.
    """

    name: str
    ours: float
    baseline: float
    limit: float | None
    requests: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ours to the baseline."""
        return self.ours / self.baseline

    @property
    def is_good(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or self.ratio <= self.limit

    def show(self) -> None:
        """Print a line of the table."""
        limit = '' if self.limit is None else f'{self.limit:.2f}'
        print(
            f'{self.name:<46}{self.ratio:6.2f}{limit:>7}'
            f'{self.ours:9.2f}{self.baseline:10.2f}'
        )
        if self.requests:
            listed = ', '.join(f'{k} {n}' for k, n in self.requests.items())
            print(f'    {sum(self.requests.values())} requests: {listed}')


def compare(
    name: str,
    limit: float | None,
    measure: Callable[[], tuple[float, float]],
    rounds: int,
) -> Comparison:
    """Measure ours and the baseline in turns.

    The best of each counts: other processes can only make it take longer.
    """
    measure()  # once for the caches
    pairs = [measure() for _ in range(rounds)]
    ours, baseline = map(min, zip(*pairs, strict=True))
    return Comparison(name, 1000 * ours, 1000 * baseline, limit)


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


def compare_imports() -> list[Comparison]:
    """The front door's contracts, and all that a node needs."""
    return [
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
            'import kuryr_sriov.node, to its libraries',
            IMPORT_LIMIT,
            lambda: (
                import_time('kuryr_sriov.node'),
                import_time('oslo_config.cfg, stevedore, msgspec, sqlite3'),
            ),
            21,
        ),
    ]


def compare_attach(resource: str) -> Comparison:
    """An attach, to what the simulated kernel takes of it."""
    with tempfile.TemporaryDirectory() as folder:
        attaching = Attaching(Path(folder), resource)
        found = compare(
            f'attach ({resource}), to its kernel operations alone',
            None,
            attaching.attach,
            200,
        )
        requests = attaching.requests()
        attaching.node.close()
        attaching.simulated.close()
    return dataclasses.replace(found, requests=requests)


def main() -> int:
    """Print all figures, write them as JSON; 1 if one is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    print(f'{"":<46}{"ratio":>6}{"limit":>7}{"ours":>9}{"baseline":>10}  (ms)')
    found = [*compare_imports(), *map(compare_attach, ('kernel', 'vfio'))]
    for each in found:
        each.show()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = [dataclasses.asdict(each) for each in found]
        options.json.write_text(json.dumps(figures, indent=1))
    return int(not all(each.is_good for each in found))


if __name__ == '__main__':
    sys.exit(main())
