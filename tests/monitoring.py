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
    """Names of the samples, and of the metrics that have none yet."""
    return {
        word
        for line in text.splitlines()
        for word in (
            NAME.findall(line)[:1]
            if line.startswith(('kuryr_sriov_', '# TYPE'))
            else ()
        )
    }
