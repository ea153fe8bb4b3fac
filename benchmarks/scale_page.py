# SPDX-License-Identifier: Apache-2.0
"""Writes the picture and the tables of ``doc/source/scale.rst``.

From what ``make bench-scale``, ``bench-neutron`` and ``bench-watches`` have
written into ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

from bench_scale import read_rows
from scale_model import Cloud, make_model, show_model
from scale_picture import draw_picture
from scale_table import show_hung, show_table

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent / 'doc' / 'source'
CLOUD = Cloud(nodes=5000, pods=50000)


def make_files(folder: pathlib.Path) -> dict[str, str]:
    """Text by file, of the documentation.

    :param folder: of the results.
    """
    found: dict[str, Any] = {
        name: json.loads((folder / f'{name}.json').read_text())
        for name in ('scale', 'neutron', 'watches')
    }
    rows = read_rows(found['scale'])
    told = found['scale']['measured']
    table = (
        f'{show_table(rows)}\n\n{show_hung(found["scale"]["hung_subnet"])}'
        f'\n\n{told["date"]}, {told["machine"]}\n{told["others"]}\n'
    )
    model = make_model(rows, found['neutron'], found['watches'])
    return {
        'images/scale.svg': draw_picture(rows, found['watches']['rows']),
        'snippets/scale.txt': table,
        'snippets/scale-model.txt': show_model(model, CLOUD),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        '--check', action='store_true', help='write nothing; 1 if it would'
    )
    parser.add_argument(
        '--results', type=pathlib.Path, default=HERE / 'results'
    )
    args = parser.parse_args()
    stale = []
    for name, text in make_files(args.results).items():
        path = SOURCE / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not args.check:
                path.write_text(text)
    for name in stale:
        print(f'{"is not up to date" if args.check else "written"}: {name}')
    return 1 if args.check and stale else 0


if __name__ == '__main__':
    sys.exit(main())
