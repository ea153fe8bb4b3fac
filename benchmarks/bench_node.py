# SPDX-License-Identifier: Apache-2.0
"""What a node costs with many records and many VFs, and over a long time.

On the simulated node; run it with ``make bench``. Of each operation the time
that is told is the library's own: what the simulated kernel takes is taken
off. It has to stay what it is, whatever the node has, but for what looks at
every record (GC, reconcile), which has to grow no faster than the records.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import CONF, PF

from kuryr_sriov import model
from kuryr_sriov.config import loading
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

RECORDS = 0, 100, 1000
VFS = 8, 64, 256
ROUNDS = 30
MOST_MEMORY = 64.0
"""MiB that a node's process may have, 1,000 attaches after its start."""
MOST_GROWTH = 1.0
"""MiB that it may have more at the end of all cycles."""
EVERY_RECORD = 'gc', 'reconcile'
"""Operations that look at every record."""
SLACK = 3.0
"""How many times as long another operation may take for what there is.

To look at 1,000 records takes ten times as long as an attach. A busy machine
makes the same work twice as long.
"""


class BusyNode:
    """A simulated node with a pod to come and go, and others' records.

    :ivar in_kernel: seconds that the simulated kernel has taken.
    """

    def __init__(self, folder: Path, records: int, vfs: int) -> None:
        folder.mkdir(exist_ok=True)
        self.simulated = SimulatedNode(
            folder / 'node', [Pf(PF, 'ens6', vfs=vfs)]
        )
        file = folder / 'kuryr.conf'
        file.write_text(CONF.format(folder))
        host = self.simulated.host
        self.node = Node(loading.load_config(files=[str(file)]), host=host)
        self.in_kernel = 0.0
        host.call = self._timed(host.call)
        host.links._call = self._timed(host.links._call)
        # The last one: whoever looks for it in a list passes all others.
        pci = self.simulated.vfs(PF)[-1]
        self.device = model.Device('intel.com/kernel', pci)
        self.vif = make_vif(0)
        self.sandbox = self._make_sandbox('bench')
        self._ids = {'bench'}
        self._add_records(records)

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                self.in_kernel += time.thread_time() - start

        return timed

    def _make_sandbox(self, name: str) -> model.Sandbox:
        netns = self.simulated.add_netns(f'/run/netns/{name}')
        return model.Sandbox(
            name, netns, model.Pod('default', name, f'uid-{name}')
        )

    def _add_records(self, count: int) -> None:
        """Of VFs that are elsewhere, in one sandbox for each ten."""
        self.attach()
        (mine,) = self.node.attachments()
        self.detach()
        sandboxes = [
            self._make_sandbox(f'other{number}')
            for number in range(-(-count // 10))
        ]
        self._ids.update(each.container_id for each in sandboxes)
        self.node.ledger.save(
            dataclasses.replace(
                mine,
                sandbox=sandboxes[number // 10],
                vif=make_vif(1 + number),
                pci=f'00{number // 256 + 16:02x}:00:{number % 256 // 8:02x}'
                f'.{number % 8}',
                netns_id=self.simulated.host.links.identify(
                    sandboxes[number // 10].netns
                ),
            )
            for number in range(count)
        )

    def attach(self) -> None:
        """ADD, as the library sees it."""
        self.node.attach(self.sandbox, [self.vif], [self.device])

    def detach(self) -> None:
        """DEL."""
        self.node.detach('bench')

    def check(self) -> None:
        """CHECK."""
        self.node.check('bench')

    def gc(self) -> None:
        """GC of a runtime that knows all sandboxes."""
        assert not self.node.collect_garbage(self._ids).restored

    def reconcile(self) -> None:
        """A start, or a look every now and then; nothing is left over."""
        assert not self.node.reconcile().restored

    def measure_all(self) -> dict[str, float]:
        """Milliseconds of the processor for each, without the kernel's."""
        taken = {}
        for operation in (
            *(self.attach, self.check, self.gc, self.reconcile),
            self.detach,
        ):
            self.in_kernel = 0.0
            start = time.process_time()
            operation()
            passed = time.process_time() - start - self.in_kernel
            taken[operation.__name__] = 1000 * passed
        return taken

    def close(self) -> None:
        """End it."""
        self.node.close()
        self.simulated.close()


def make_vif(number: int) -> model.Vif:
    """A VIF that no other is like."""
    return model.Vif(
        f'port-{number}',
        f'net{number % 10 + 1}',
        'default/net',
        'intel.com/kernel',
        'b',
        f'fa:16:3e:00:{number // 256:02x}:{number % 256:02x}',
        (f'192.168.{number // 250}.{number % 250 + 1}/16',),
        vlan=3501,
        mtu=1450,
    )


def measure_costs() -> list[dict[str, Any]]:
    """Fewest milliseconds of each operation, by what a node has.

    All nodes are measured in turns: processors are now fast and now slow.
    """
    with tempfile.TemporaryDirectory() as folder:
        nodes = {
            (records, vfs): BusyNode(
                Path(folder) / f'{records}-{vfs}', records, vfs
            )
            for records in RECORDS
            for vfs in VFS
        }
        taken: dict[tuple[int, int], list[dict[str, float]]] = {
            what: [] for what in nodes
        }
        for _ in range(ROUNDS):
            for what, busy in nodes.items():
                taken[what].append(busy.measure_all())
        for busy in nodes.values():
            busy.close()
    return [
        {
            'records': records,
            'vfs': vfs,
            # Other processes can only make it take longer.
            **{name: min(each[name] for each in rounds) for name in rounds[0]},
        }
        for (records, vfs), rounds in taken.items()
    ]


def show_costs(costs: Iterable[Mapping[str, Any]]) -> bool:
    """Print the table; whether nothing grows that should not."""
    names = 'attach', 'check', 'detach', *EVERY_RECORD
    print('Milliseconds of the processor, without the simulated kernel:')
    print(f'{"records":>8}{"VFs":>6}' + ''.join(f'{n:>11}' for n in names))
    first: Mapping[str, Any] = {}
    grown = []
    for row in costs:
        print(
            f'{row["records"]:>8}{row["vfs"]:>6}'
            + ''.join(f'{row[n]:11.2f}' for n in names)
        )
        first = first or row
        grown += [
            f'{name} with {row["records"]} records and {row["vfs"]} VFs'
            for name in names
            if name not in EVERY_RECORD and row[name] > SLACK * first[name]
        ]
    for each in grown:
        print(f'grows with what there is: {each}')
    return not grown


@dataclasses.dataclass(frozen=True)
class State:
    """What this process has, after a number of cycles."""

    cycles: int
    memory: float
    threads: int
    files: int


def look_at_process(cycles: int) -> State:
    """Resident memory in MiB, threads, open files."""
    gc.collect()
    status = Path('/proc/self/status').read_text()
    (kib,) = (
        line.split()[1]
        for line in status.splitlines()
        if line.startswith('VmRSS')
    )
    return State(
        cycles,
        int(kib) / 1024,
        threading.active_count(),
        len(os.listdir('/proc/self/fd')),
    )


def watch_cycles(cycles: int) -> list[State]:
    """The process after 1,000 cycles of attach and detach, and later."""
    states = []
    with tempfile.TemporaryDirectory() as folder:
        busy = BusyNode(Path(folder), 0, 8)
        for done in range(1, cycles + 1):
            busy.attach()
            busy.detach()
            if done % max(1, cycles // 10) == 0:
                states.append(look_at_process(done))
        busy.close()
    return states


def show_states(states: list[State]) -> bool:
    """Print the table; whether the process has stayed as it was."""
    print('This process, simulation included:')
    print(f'{"cycles":>8}{"MiB":>8}{"threads":>9}{"files":>7}')
    for each in states:
        print(
            f'{each.cycles:>8}{each.memory:>8.1f}{each.threads:>9}'
            f'{each.files:>7}'
        )
    first, last = states[0], states[-1]
    print(
        f'At most {MOST_MEMORY:g} MiB, {MOST_GROWTH:g} more at the end, and '
        'no thread or file more.\n'
    )
    return (
        first.memory <= MOST_MEMORY
        and last.memory - first.memory <= MOST_GROWTH
        and last.threads <= first.threads
        and last.files <= first.files
    )


def main() -> int:
    """Print all figures, write them as JSON; 1 if one is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cycles', type=int, default=10_000)
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    states = watch_cycles(options.cycles)
    good = show_states(states)
    costs = measure_costs()
    good &= show_costs(costs)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {
            'process': [dataclasses.asdict(each) for each in states],
            'costs_ms': costs,
        }
        options.json.write_text(json.dumps(figures, indent=1))
    return int(not good)


if __name__ == '__main__':
    sys.exit(main())
