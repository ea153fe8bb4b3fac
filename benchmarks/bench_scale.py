# SPDX-License-Identifier: Apache-2.0
"""What the controller costs with thousands of pods, on a real API server.

Each pod has two VIFs. With the ``local`` driver, and with a stand-in for
Neutron that takes 50 ms for each answer. Times are of this machine, where
etcd and API server run as well: what is to be read off is what a pod costs,
and whether that grows with their number. Run it with ``make bench-scale``;
with sizes, such as ``ARGS=neutron:3000``, the figures go to another file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Iterable
from typing import Any

from measured import describe_run
from scale_phases import Row, Spent, start_bench
from scale_table import list_misses, show_hung, show_table

DRIVERS = 'local', 'neutron'
ALL = [(driver, pods) for pods in (1000, 3000, 10000) for driver in DRIVERS]
RESULTS = pathlib.Path(__file__).parent / 'results' / 'scale.json'
PART = RESULTS.with_name('scale-part.json')


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


def read_size(word: str) -> tuple[str, int]:
    """Driver and pods of an argument such as ``neutron:3000``."""
    driver, _, pods = word.partition(':')
    if driver not in DRIVERS or not pods.isdecimal():
        raise argparse.ArgumentTypeError(f'{word}: not like neutron:3000')
    return driver, int(pods)


def measure_all(
    sizes: Iterable[tuple[str, int]], path: pathlib.Path
) -> dict[str, Any]:
    """All figures; each size is written as soon as it is measured."""
    results: dict[str, Any] = {'measured': describe_run(), 'sizes': []}
    path.parent.mkdir(exist_ok=True)
    for driver, pods in sizes:
        began = time.monotonic()
        with start_bench() as bench:
            row = bench.measure(pods, driver)
        results['sizes'].append(dataclasses.asdict(row))
        path.write_text(json.dumps(results, indent=1) + '\n')
        took = time.monotonic() - began
        print(f'{driver}, {pods:,} pods: {took:.0f} s', file=sys.stderr)
    with start_bench() as bench:
        alone, behind = bench.beside_a_hung_subnet()
    results['hung_subnet'] = {'alone': alone, 'behind': behind}
    path.write_text(json.dumps(results, indent=1) + '\n')
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description='See the docstring.')
    parser.add_argument('sizes', nargs='*', type=read_size, metavar='SIZE')
    parser.add_argument('--into', type=pathlib.Path, metavar='FILE')
    args = parser.parse_args()
    path = args.into or (PART if args.sizes else RESULTS)
    results = measure_all(args.sizes or ALL, path)
    rows = read_rows(results)
    print(show_table(rows))
    print(f'\n{show_hung(results["hung_subnet"])}')
    misses = list(list_misses(rows))
    for miss in misses:
        print(f'MISSED  {miss}')
    print(f'as JSON: {path}')
    return 1 if misses else 0


if __name__ == '__main__':
    sys.exit(main())
