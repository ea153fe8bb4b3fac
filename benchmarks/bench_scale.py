# SPDX-License-Identifier: Apache-2.0
"""What the controller costs with thousands of pods, on a real API server.

Each pod has two VIFs. With the ``local`` driver, and with a stand-in for
Neutron that takes 50 ms for each answer. Times are of this machine, where
etcd and API server run as well: what is to be read off is what a pod costs,
and whether that grows with their number. Run it with ``make bench-scale``, or
with other numbers of pods, whose figures go to another file.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from typing import Any

from scale_phases import Row, Spent, start_bench
from scale_table import list_misses, show_table

SIZES = 1000, 3000, 10000
DRIVERS = 'local', 'neutron'
RESULTS = pathlib.Path(__file__).parent / 'results'


def describe_run() -> dict[str, str]:
    """When, where and of what."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        'date': time.strftime('%Y-%m-%d', time.gmtime()),
        'commit': commit.stdout.strip() or 'unknown',
        'machine': (
            f'{os.cpu_count()} processors, {memory / 2**30:.0f} GiB, '
            f'{platform.machine()}, Linux {platform.release().split("-")[0]}, '
            f'Python {platform.python_version()}'
        ),
        'others': (
            f'load {os.getloadavg()[1]:.1f} before it began, by other work'
        ),
    }


def read_rows(results: dict[str, Any]) -> list[Row]:
    """The rows that ``main`` has written."""
    rows = []
    for one in results['sizes']:
        phases = {
            name: Spent(**value)
            for name, value in one.items()
            if isinstance(value, dict)
        }
        rows.append(Row(**{**one, **phases}))
    return rows


def main(sizes: list[int]) -> int:
    full = sizes == list(SIZES)
    path = RESULTS / ('scale.json' if full else 'scale-part.json')
    results: dict[str, Any] = {'measured': describe_run(), 'sizes': []}
    rows: list[Row] = []
    RESULTS.mkdir(exist_ok=True)
    for count in sizes:
        for driver in DRIVERS:
            began = time.monotonic()
            with start_bench() as bench:
                rows.append(bench.measure(count, driver))
            results['sizes'].append(dataclasses.asdict(rows[-1]))
            path.write_text(json.dumps(results, indent=1) + '\n')
            took = time.monotonic() - began
            print(f'{driver}, {count:,} pods: {took:.0f} s', file=sys.stderr)
    with start_bench() as bench:
        alone, behind = bench.beside_a_hung_subnet()
    results['hung_subnet'] = {'alone': alone, 'behind': behind}
    path.write_text(json.dumps(results, indent=1) + '\n')
    print(show_table(rows))
    print(
        f'\n200 pods: {alone:.1f} s alone, {behind:.1f} s behind 100 whose '
        'subnet hangs'
    )
    misses = list(list_misses(rows))
    for miss in misses:
        print(f'MISSED  {miss}')
    print(f'as JSON: {path}')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main([int(word) for word in sys.argv[1:]] or list(SIZES)))
