# SPDX-License-Identifier: Apache-2.0
"""The metrics that dashboard and alert rules name."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / 'deploy' / 'monitoring'
NAME = re.compile(r'kuryr_sriov_\w+')


def named_metrics(daemon):
    """Names that begin with the daemon's, in any of the files."""
    return {
        name
        for file in FOLDER.iterdir()
        for name in NAME.findall(file.read_text())
        if name.startswith(f'kuryr_sriov_{daemon}_')
    }


def shown_metrics(text):
    """Names of the samples, also of metrics that have none yet."""
    shown = set()
    for line in text.splitlines():
        if line.startswith('# TYPE'):
            *_, name, kind = line.split()
            endings = ('_bucket', '_count') if kind == 'histogram' else ('',)
            shown |= {name + ending for ending in endings}
        elif not line.startswith('#'):
            shown |= set(NAME.findall(line)[:1])
    return shown
