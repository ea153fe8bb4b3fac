# SPDX-License-Identifier: Apache-2.0
"""What attach and detach cost on (emulated) hardware, beside their floor.

Runs in the lab: ``make lab-bench``. Every figure is measured in turns with
the floor's: the same end state, made by the fewest raw operations. What
counts is the time that passes. Time inside system calls is printed beside it,
from rounds of their own: to trace a call takes as long as many a call.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests/lab'))

import lab_at_once
import labnode
import labpods
from lab_floor import Netdevice, Vfio
from lab_trace import SystemCalls

from kuryr_sriov import model
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.host.linux import NodeHost

ROUNDS = 40
LIMITS = {
    (labpods.KERNEL, 'attach'): 1.6,
    (labpods.KERNEL, 'detach'): 1.5,
    (labpods.USERSPACE, 'attach'): 1.3,
    (labpods.USERSPACE, 'detach'): 1.3,
}
"""How many times as long as the floor each may take."""
NEVER = 0, 0.0
DRIVERS = {
    labpods.KERNEL: (NetdeviceDriver, Netdevice),
    labpods.USERSPACE: (VfioDriver, Vfio),
}


@dataclass
class Figures:
    """One operation, many times.

    :ivar totals: seconds each took that was not traced.
    :ivar calls: how often each that was traced called the kernel, and
        seconds inside, by name of the system call.
    :ivar counts: netlink messages and sysfs writes of the last one.
    """

    totals: list[float] = field(default_factory=list)
    calls: list[dict[str, tuple[int, float]]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """In milliseconds, the first one left out: it fills caches."""
        rounds = self.calls[1:]
        inside = [sum(spent for _, spent in c.values()) for c in rounds]
        return {
            'inside': _spread(inside),
            'total': _spread(self.totals[1:]),
            'calls': {
                name: (
                    statistics.median(c.get(name, NEVER)[0] for c in rounds),
                    _spread(c.get(name, NEVER)[1] for c in rounds)['median'],
                )
                for name in {name for calls in rounds for name in calls}
            },
            'counts': self.counts,
        }


def _spread(seconds: Iterable[float]) -> dict[str, float]:
    in_order = sorted(1000 * second for second in seconds)
    return {'median': statistics.median(in_order), 'worst': in_order[-1]}


class Bench:
    """One VF, attached and detached in turns by the library and raw."""

    def __init__(
        self, driver: str, vf: labnode.VirtualFunction, calls: SystemCalls
    ) -> None:
        self.driver, self.vf, self.calls = driver, vf, calls
        self.host = NodeHost()
        self.node = labpods.start(Path(tempfile.mkdtemp()), host=self.host)
        self.netns = labnode.Netns(f'bench-{driver}')
        labnode.run('ip', 'netns', 'add', self.netns.name)
        self.vif = labpods.make_vif(
            1, driver, mtu=1450, gateways=('192.0.2.254', '2001:db8::254')
        )
        binding, floor = DRIVERS[driver]
        self.binding = binding(driver, self.host, labpods.Conf())
        self.original = self.binding.snapshot(vf.pci)
        self.floor = floor(
            lab_at_once.make_target(
                self.host, vf, self.original, self.vif, self.netns
            )
        )
        names = 'attach', 'attach floor', 'detach', 'detach floor'
        self.figures = {name: Figures() for name in names}

    def run(self) -> None:
        """All rounds; each end state is checked."""
        for number in range(ROUNDS + 2):
            self._is_traced = bool(number % 2)
            index = self.host.pci.wait_netdev(self.vf.pci, 30).ifindex
            self.floor.prepare(index)
            self._measure('attach floor', self.floor.attach)
            self._check_attached()
            self._measure('detach floor', self.floor.detach)
            self._check_detached()
            self._measure('attach', self._attach)
            self._check_attached()
            self._measure('detach', self._detach)
            self._check_detached()
        self.node.close()

    def _attach(self) -> None:
        labpods.attach(self.node, self.vf, self.vif, self.netns)

    def _detach(self) -> None:
        self.node.detach(self.netns.name)

    def _check_attached(self) -> None:
        self.binding.check(
            model.Attachment(
                sandbox=labpods.sandbox(self.netns),
                vif=self.vif,
                pci=self.vf.pci,
                driver=self.driver,
            )
        )

    def _check_detached(self) -> None:
        labnode.settle()
        found = self.binding.snapshot(self.vf.pci)
        if found != self.original:
            raise AssertionError(f'{found} is not {self.original}')

    def _measure(self, name: str, work: Callable[[], None]) -> None:
        figures = self.figures[name]
        requests = self.host.links.requests.copy()
        writes = self.host.pci.writes.copy()

        if self._is_traced:
            figures.calls.append(self.calls.measure(work))
        else:
            start = time.perf_counter()
            work()
            figures.totals.append(time.perf_counter() - start)
        figures.counts = {
            **(self.host.links.requests - requests),
            **(self.host.pci.writes - writes),
        }


def show(driver: str, operation: str, ours: Any, floor: Any) -> float:
    """Print a line of the table, and one of counts; return the ratio."""
    ratio = ours['total']['median'] / floor['total']['median']
    columns = [
        f'{figures[kind][which]:8.1f}'
        for kind in ('total', 'inside')
        for figures in (ours, floor)
        for which in ('median', 'worst')
    ]
    limit = LIMITS[driver, operation]
    print(
        f'{driver:<10}{operation:<7}{ratio:5.2f}{limit:6.1f}'
        + ''.join(columns)
    )
    for who, figures in (('ours', ours), ('floor', floor)):
        calls = sorted(figures['calls'].items(), key=lambda i: -i[1][1])
        spent = ', '.join(f'{k} {n:g}x {ms:.1f}' for k, (n, ms) in calls[:9])
        print(f'    {who}: {sum(n for _, (n, _) in calls):g} calls: {spent}')
    counts = ', '.join(f'{k} {n}' for k, n in sorted(ours['counts'].items()))
    print(f'    {sum(ours["counts"].values())} requests: {counts}')
    return float(ratio)


def main() -> int:
    """Print the table and write it as JSON; 1 if one is over its limit."""
    lab = labnode.Lab()
    calls = SystemCalls()
    results: dict[str, Any] = {}
    print(f'median and worst of {ROUNDS}, in ms')
    columns = 'total', 'its floor', 'in system calls', 'its floor'
    print(f'{"":<17}ratio limit' + ''.join(f'{c:>16}' for c in columns))
    exceeded = False
    # A VF each: what the PF remembers of one driver's is not the other's.
    vfs = lab.pfs[0].lend_vfs(len(DRIVERS))
    for driver, vf in zip(DRIVERS, vfs, strict=True):
        bench = Bench(driver, vf, calls)
        bench.run()
        found = {name: f.summary() for name, f in bench.figures.items()}
        results[driver] = found
        for operation in ('attach', 'detach'):
            floor = found[f'{operation} floor']
            ratio = show(driver, operation, found[operation], floor)
            exceeded |= ratio > LIMITS[driver, operation]
    results['at once'] = lab_at_once.measure(lab)
    exceeded |= not lab_at_once.show(results['at once'])
    (lab.results / 'lab_bench.json').write_text(json.dumps(results, indent=1))
    return int(exceeded)


if __name__ == '__main__':
    sys.exit(main())
