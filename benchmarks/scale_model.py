# SPDX-License-Identifier: Apache-2.0
"""What a cloud would ask, from the figures of the benchmarks.

Straight lines through what was measured: nobody has run that cloud.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scale_phases import Row
from scale_table import active_cpu, cpu

DAY, HOUR = 86400.0, 3600.0

CHANGES, ORPHANS = 300.0, 600.0
"""``[sriov_controller] changes_period`` and ``orphan_period``, seconds."""

PAGE = 500
"""Objects in a page of the API server's; ``clients/kubernetes/session``."""

NEUTRON_PAGE = 1000

WORKERS = 16 * 3 // 4
"""What one set of networks may have of them, at most."""


@dataclass(frozen=True)
class Cloud:
    """What it has; each pod has two ports."""

    nodes: int
    pods: int

    @property
    def ports(self) -> int:
        return 2 * self.pods


class Model:
    """Costs by straight lines.

    :param rows: of the Neutron driver.
    :param neutron: milliseconds, as ``bench_neutron`` writes them.
    :param watches: rows of ``bench_watches``.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        neutron: Mapping[str, float],
        watches: Sequence[Mapping[str, float]],
    ) -> None:
        self.cpu = max(cpu(row) + active_cpu(row) for row in rows)
        self.cpu_of_end = max(
            row.deletion.cpu / min(row.pods, 1000) * 1000 for row in rows
        )
        self.neutron = neutron
        few, many = watches[0], watches[-1]
        self.write_ms = few['cpu_ms_per_write']
        self.watch_us = (
            (many['cpu_ms_per_write'] - few['cpu_ms_per_write'])
            / (many['watches'] - few['watches'])
            * 1000
        )

    @property
    def neutron_life(self) -> float:
        """Milliseconds of Neutron for all of a pod's writes."""
        return (
            self.neutron['create the two ports of a pod']
            + 2 * self.neutron['update one, with its VF']
            + 2 * self.neutron['delete one']
        )

    def listing(self, cloud: Cloud) -> float:
        """Seconds of Neutron for a list of all ports."""
        return self.neutron['list all ports, each of them'] * cloud.ports / 1e3

    def by_rate(self, cloud: Cloud, rate: float) -> Iterator[tuple[str, str]]:
        """What so many pods made and gone in a second ask for."""
        write = self.write_ms + self.watch_us * cloud.nodes / 1000
        yield 'pods, made and gone', f'{rate:.1f} /s'
        yield 'writes of port objects', f'{6 * rate:.1f} /s'
        yield (
            'processors of the API server, with their watches',
            f'{6 * rate * write / 1000:.2f}',
        )
        yield 'writes to Neutron', f'{5 * rate:.1f} /s'
        yield (
            'processors of Neutron, for these',
            f'{rate * self.neutron_life / 1000:.2f}',
        )
        yield (
            'processors of the controller',
            f'{rate * (self.cpu + self.cpu_of_end) / 1000:.3f}',
        )

    def standing(self, cloud: Cloud) -> Iterator[tuple[str, str]]:
        """What is asked for while nothing changes, and what is kept."""
        listing = self.listing(cloud)
        often = 1 / CHANGES + 1 / ORPHANS
        yield (
            'all ports listed by Neutron, once',
            f'{cloud.ports // NEUTRON_PAGE} pages, {listing:.0f} s',
        )
        yield (
            f'processors of it, every {CHANGES:.0f} and {ORPHANS:.0f} s',
            f'{listing * often:.2f}',
        )
        yield (
            'a restart: pages of the API server',
            f'{2 * -(-cloud.pods // PAGE)}',
        )

    def limits(self, cloud: Cloud) -> Iterator[tuple[str, str]]:
        """Pods in a second that each part can make and take back."""
        write = self.write_ms + self.watch_us * cloud.nodes / 1000
        yield (
            'one processor of the controller (Python has one)',
            f'{1000 / (self.cpu + self.cpu_of_end):.0f} /s',
        )
        yield (
            'one processor of Neutron',
            f'{1000 / self.neutron_life:.1f} /s',
        )
        yield (
            'one processor of the API server',
            f'{1000 / (6 * write):.0f} /s',
        )


def show_model(model: Model, cloud: Cloud) -> str:
    """The tables, as text."""
    calm = list(model.by_rate(cloud, cloud.pods / DAY))
    busy = list(model.by_rate(cloud, cloud.pods / HOUR))
    lines = [
        f'{cloud.nodes:,} nodes, {cloud.pods:,} pods, {cloud.ports:,} ports',
        '',
        f'{"":48}{"a day":>12}{"an hour":>12}',
        'all pods are made again within',
    ]
    for (label, one), (_label, other) in zip(calm, busy, strict=True):
        lines.append(f'  {label:46}{one:>12}{other:>12}')
    for title, figures in (
        ('while nothing changes', model.standing(cloud)),
        ('pods that are made and go, at most', model.limits(cloud)),
    ):
        lines += ['', title]
        lines += [f'  {label:50}{figure:>20}' for label, figure in figures]
    return '\n'.join(lines) + '\n'


def make_model(
    rows: Sequence[Row], neutron: Mapping[str, Any], watches: Mapping[str, Any]
) -> Model:
    """From what the benchmarks have written."""
    ours = [row for row in rows if row.driver == 'neutron']
    return Model(ours, neutron['milliseconds'], watches['rows'])
