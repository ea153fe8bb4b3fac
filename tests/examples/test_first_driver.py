# SPDX-License-Identifier: Apache-2.0
"""The shortest way to a driver works, and is as short as it says."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'first-driver'
FILES = 'acme.py', 'tests/test_acme.py', 'pyproject.toml', 'kuryr.conf'


def test_its_suite_passes():
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', 'tests'],
        cwd=EXAMPLE,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(['.', *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_it_is_as_short_as_it_says():
    lines = [
        line
        for file in FILES
        for line in (EXAMPLE / file).read_text().splitlines()
        if line and not line.startswith('#')
    ]
    assert len(lines) == 16
    assert (
        'sixteen lines in four files' in (EXAMPLE / 'README.rst').read_text()
    )
