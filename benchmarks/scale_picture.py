# SPDX-License-Identifier: Apache-2.0
"""The picture of ``scale.rst``, from the figures of ``make bench-scale``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from scale_phases import Row
from scale_table import active_cpu, cpu

WIDTH, LEFT, RIGHT = 360, 62, 310
BAR, STEP = 14, 18
COLOURS = {'local': '#b8d4a8', 'neutron': '#8fb6ea', 'watches': '#e3c08a'}
NAMES = {'local': 'local driver', 'neutron': 'Neutron driver'}


def cpu_per_pod(row: Row) -> float:
    """Milliseconds until a pod is active."""
    return cpu(row) + active_cpu(row)


def writes_per_pod(row: Row) -> float:
    """Of the controller to the API server, and to Neutron."""
    phases = row.publish, row.activate
    count = sum(phase.api_writes + phase.neutron_writes for phase in phases)
    # the report of its node is not the controller's
    return count / row.pods - 1


PANELS: tuple[tuple[str, Callable[[Row], float], str], ...] = (
    (
        'Processor time of the controller, ms a pod',
        lambda row: cpu(row) + active_cpu(row),
        '.1f',
    ),
    (
        'Its writes: API server and Neutron, a pod',
        writes_per_pod,
        '.1f',
    ),
    ('Its memory, MiB', lambda row: row.rss, '.0f'),
)


def draw_panel(
    title: str,
    bars: list[tuple[str, str, float]],
    form: str,
    top: int,
) -> Iterator[str]:
    """Lines of SVG: a bar for each (pods, driver, value), from 0."""
    longest = max(value for _pods, _driver, value in bars)
    yield f'<text x="14" y="{top}" font-weight="700">{title}</text>'
    y = top + 12
    before = ''
    for pods, driver, value in bars:
        if pods != before:
            y += 4 if before else 0
            yield (
                f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">'
                f'{pods}</text>'
            )
        before = pods
        width = round((RIGHT - LEFT) * value / longest)
        yield (
            f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" '
            f'fill="{COLOURS[driver]}"/>'
        )
        x = LEFT + width + 5
        yield f'<text x="{x}" y="{y + 12}">{value:{form}}</text>'
        y += STEP


def draw_picture(
    rows: Iterable[Row], watches: Sequence[Mapping[str, float]]
) -> str:
    """The whole SVG.

    :param watches: rows of ``bench_watches``.
    """
    rows = sorted(rows, key=lambda row: (row.pods, row.driver))
    panels = [
        (
            title,
            [(f'{row.pods:,}', row.driver, value(row)) for row in rows],
            form,
        )
        for title, value, form in PANELS
    ]
    costs = [
        (f'{row["watches"]:,}', 'watches', row['cpu_ms_per_write'])
        for row in watches
    ]
    panels.append(('API server, ms a write, by watches', costs, '.1f'))
    lines, top, x = [], 60, 14
    for driver in sorted({row.driver for row in rows}):
        lines += [
            f'<rect x="{x}" y="17" width="{BAR}" height="{BAR}" '
            f'fill="{COLOURS[driver]}"/>',
            f'<text x="{x + 20}" y="29">{NAMES[driver]}, by pods</text>',
        ]
        x += 160
    for title, bars, form in panels:
        lines += draw_panel(title, bars, form, top)
        top += 46 + len(bars) * (STEP + 4)
    return '\n'.join(
        [
            '<!-- SPDX-License-Identifier: Apache-2.0 -->',
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {WIDTH} {top - 10}"',
            '     font-family="system-ui, sans-serif" font-size="13" '
            'fill="#1b1f24">',
            '  <title>What a pod costs the controller, and a write the API '
            'server</title>',
            f'  <rect width="{WIDTH}" height="{top - 10}" rx="8" '
            'fill="#ffffff"/>',
            *(f'  {line}' for line in lines),
            '</svg>',
            '',
        ]
    )
