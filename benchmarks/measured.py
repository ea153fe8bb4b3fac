# SPDX-License-Identifier: Apache-2.0
"""When, where and of what figures are."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import time


def describe_run() -> dict[str, str]:
    """When, where and of what."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
        cwd=pathlib.Path(__file__).parent,
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
