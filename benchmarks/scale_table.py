# SPDX-License-Identifier: Apache-2.0
"""The figures of ``make bench-scale`` as a table, and those that miss."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from scale_phases import DELETED, NEWCOMERS, Row

MOST_RSS = 250.0
"""MiB."""

LINEAR = 1.15
"""Times the CPU of a pod in the smallest cluster."""

Measure = tuple[str, Callable[[Row], float], str]

SECTIONS: Sequence[tuple[str, Sequence[Measure]]] = (
    (
        'All pods get their VIFs, from a controller that has just started',
        (
            ('seconds', lambda row: row.publish.seconds, '.1f'),
            ('CPU of the controller, ms a pod', lambda row: cpu(row), '.2f'),
            ('writes to the API server, a pod', lambda row: asked(row), '.2f'),
            (
                'writes to Neutron, a pod',
                lambda row: row.publish.neutron_writes / row.pods,
                '.2f',
            ),
            (
                'reads of Neutron, a pod',
                lambda row: row.publish.neutron_reads / row.pods,
                '.2f',
            ),
        ),
    ),
    (
        'All nodes report, and all pods become active',
        (
            ('seconds', lambda row: row.activate.seconds, '.1f'),
            (
                'CPU of the controller, ms a pod',
                lambda row: active_cpu(row),
                '.2f',
            ),
            (
                'writes to the API server, a pod',
                lambda row: row.activate.api_writes / row.pods - 1,
                '.2f',
            ),
            (
                'writes to Neutron, a pod',
                lambda row: row.activate.neutron_writes / row.pods,
                '.2f',
            ),
            (
                'reads of Neutron, a pod',
                lambda row: row.activate.neutron_reads / row.pods,
                '.2f',
            ),
            ('memory of the controller, MiB', lambda row: row.rss, '.0f'),
            ('of one that waits', lambda row: row.standby_rss, '.0f'),
        ),
    ),
    (
        f'{NEWCOMERS} pods more, once it has led for minutes',
        (
            ('seconds', lambda row: row.newcomers.seconds, '.1f'),
            (
                'CPU of the controller, ms a pod',
                lambda row: row.newcomers.cpu / NEWCOMERS * 1000,
                '.2f',
            ),
            ('reads of Neutron', lambda row: row.newcomers.neutron_reads, 'd'),
        ),
    ),
    (
        'Each pod is changed in what is nothing to us',
        (
            (
                'CPU of the controller, ms a pod',
                lambda row: row.storm.cpu / row.pods * 1000,
                '.2f',
            ),
            (
                'writes to the API server',
                lambda row: row.storm.api_writes - row.pods,
                'd',
            ),
        ),
    ),
    (
        'The controller starts again, or another takes over',
        (
            ('seconds until it works', lambda row: row.restart.seconds, '.1f'),
            ('requests to the API server', lambda row: lists(row), 'd'),
            (
                'writes of them',
                lambda row: row.restart.api_writes,
                'd',
            ),
            (
                'requests to Neutron',
                lambda row: sum(row.restart.neutron.values()),
                'd',
            ),
            (
                'seconds after a crash, lease of 60',
                lambda row: row.failover,
                '.1f',
            ),
        ),
    ),
    (
        f'{DELETED} pods are deleted at once',
        (
            ('seconds', lambda row: row.deletion.seconds, '.1f'),
            (
                'CPU of the controller, ms a pod',
                lambda row: row.deletion.cpu / min(row.pods, DELETED) * 1000,
                '.2f',
            ),
        ),
    ),
)


def cpu(row: Row) -> float:
    """Milliseconds of a pod's VIFs."""
    return (row.publish.cpu - row.standby_cpu) / row.pods * 1000


def active_cpu(row: Row) -> float:
    """Milliseconds of a pod that becomes active."""
    return row.activate.cpu / row.pods * 1000


def asked(row: Row) -> float:
    """Writes to the API server of a pod's VIFs."""
    return row.publish.api_writes / row.pods


def lists(row: Row) -> int:
    """Requests of a restart: pages, and watches."""
    return row.restart.api_reads + row.restart.api_writes


def show_table(rows: Sequence[Row]) -> str:
    """All figures: a column for each size, beside those of its driver."""
    rows = sorted(rows, key=lambda row: (row.driver, row.pods))
    lines = [
        f'{"":36}' + ''.join(f'{row.driver:>10}' for row in rows),
        f'{"pods, each with two VIFs":36}'
        + ''.join(f'{row.pods:10,}' for row in rows),
    ]
    for title, measures in SECTIONS:
        lines += ['', title]
        for label, value, form in measures:
            figures = ''.join(f'{value(row):10{form}}' for row in rows)
            lines.append(f'  {label:34}{figures}')
    return '\n'.join(lines)


def show_hung(seconds: Mapping[str, float]) -> str:
    """What 100 pods whose subnet hangs are to 200 others."""
    return (
        f'200 pods: {seconds["alone"]:.1f} s alone, {seconds["behind"]:.1f} s '
        'behind 100 whose subnet hangs'
    )


def list_misses(rows: Iterable[Row]) -> Iterator[str]:
    """What each row misses; counts are exact but for retries."""
    ordered = sorted(rows, key=lambda row: (row.driver, row.pods))
    for row in ordered:
        where = f'{row.driver}, {row.pods:,} pods:'
        writes = asked(row) + row.activate.api_writes / row.pods - 1
        told = row.publish.neutron_writes + row.activate.neutron_writes
        if writes > 3.01:
            yield f'{where} {writes:.2f} writes to the API server a pod'
        if told > 3.01 * row.pods:
            yield f'{where} {told / row.pods:.2f} writes to Neutron a pod'
        # all ports are listed once in five minutes, whoever comes
        if row.newcomers.neutron_reads > NEWCOMERS // 4:
            yield f'{where} {row.newcomers.neutron_reads} reads of Neutron'
        if row.storm.api_writes != row.pods:
            yield f'{where} events that change nothing are answered by writes'
        if row.restart.api_writes:
            yield f'{where} a restart writes {row.restart.api_writes} times'
        if row.rss > MOST_RSS:
            yield f'{where} {row.rss:.0f} MiB of memory'
    for driver, group in itertools.groupby(ordered, lambda row: row.driver):
        first, *others = (
            (row.pods, cpu(row) + active_cpu(row)) for row in group
        )
        for pods, spent in others:
            if spent > first[1] * LINEAR:
                yield (
                    f'{driver}, {pods:,} pods: {spent:.2f} ms of CPU a pod, '
                    f'{first[1]:.2f} with {first[0]:,}'
                )
