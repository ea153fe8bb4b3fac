# SPDX-License-Identifier: Apache-2.0
"""The picture of ``scale.rst``, from the figures of ``make bench-scale``.

Run it after them: ``python benchmarks/scale_picture.py``.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

HERE = pathlib.Path(__file__).parent
FIGURES = HERE / 'results' / 'scale.json'
PICTURE = HERE.parent / 'doc' / 'source' / 'images' / 'scale.svg'

WIDTH, LEFT, RIGHT = 360, 62, 310
BAR, STEP = 14, 18
COLOURS = {'local': '#b8d4a8', 'neutron': '#8fb6ea'}
NAMES = {'local': 'local driver', 'neutron': 'Neutron driver'}

Row = Mapping[str, Any]


def cpu_per_pod(row: Row) -> float:
    """Milliseconds until a pod is active."""
    seconds: float = row['publish']['cpu'] + row['activate']['cpu']
    return (seconds - row['standby_cpu']) / int(row['pods']) * 1000


def writes_per_pod(row: Row) -> float:
    """Of the controller to the API server, and to Neutron."""
    verbs = 'POST', 'PUT', 'PATCH', 'APPLY', 'DELETE'
    phases = row['publish'], row['activate']
    count = sum(
        number
        for phase in phases
        for requests in (phase['api'], phase['neutron'])
        for what, number in requests.items()
        if what.split()[0] in verbs
    )
    # the report of its node is not the controller's
    return count / int(row['pods']) - 1


PANELS: tuple[tuple[str, Callable[[Row], float], str], ...] = (
    ('Processor time of the controller, ms a pod', cpu_per_pod, '.1f'),
    (
        'Its writes, to the API server and Neutron, a pod',
        writes_per_pod,
        '.1f',
    ),
    ('Its memory, MiB', lambda row: float(row['rss']), '.0f'),
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
                f'<text x="{LEFT - 8}" y="{y + STEP + 1}" text-anchor="end">'
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


def draw_picture(results: Mapping[str, Any]) -> str:
    """The whole SVG."""
    rows = sorted(
        results['sizes'], key=lambda row: (row['pods'], row['driver'])
    )
    sizes = len({row['pods'] for row in rows})
    tall = 40 + len(rows) * STEP + (sizes - 1) * 4
    height = 60 + len(PANELS) * tall
    lines = [
        '<!-- SPDX-License-Identifier: Apache-2.0 -->',
        f'<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {WIDTH} {height}"',
        '     font-family="system-ui, sans-serif" font-size="13" '
        'fill="#1b1f24">',
        '  <title>What a pod costs the controller, by the number of pods'
        '</title>',
        f'  <rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    x = 14
    for driver, colour in COLOURS.items():
        lines += [
            f'  <rect x="{x}" y="17" width="{BAR}" height="{BAR}" '
            f'fill="{colour}"/>',
            f'  <text x="{x + 20}" y="29">{NAMES[driver]}</text>',
        ]
        x += 130
    for number, (title, value, form) in enumerate(PANELS):
        bars = [
            (f'{row["pods"]:,}', row['driver'], value(row)) for row in rows
        ]
        top = 60 + number * tall
        lines += [f'  {line}' for line in draw_panel(title, bars, form, top)]
    return '\n'.join([*lines, '</svg>', ''])


def main() -> int:
    PICTURE.write_text(draw_picture(json.loads(FIGURES.read_text())))
    print(PICTURE)
    return 0


if __name__ == '__main__':
    sys.exit(main())
