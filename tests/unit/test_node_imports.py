# SPDX-License-Identifier: Apache-2.0
"""What the node loads: each module costs at its start, and memory."""

import subprocess
import sys

PROGRAM = """
import sys
import oslo_config.cfg, stevedore, msgspec, sqlite3
libraries = set(sys.modules)
import kuryr_sriov.node
print(*sorted(set(sys.modules) - libraries))
"""
SMALL = {
    *('_contextvars', '_ctypes', '_heapq', '_queue', 'contextvars', 'ctypes'),
    *('ctypes._endian', 'fcntl', 'heapq', 'pkgutil', 'queue'),
}
"""Of the standard library, besides what the libraries load."""

OURS = 52
"""Modules of this package; those for a VM's metadata are not among them."""


def test_the_node_loads_its_libraries_and_little_else():
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith('kuryr_sriov')}
    assert loaded - ours <= SMALL
    assert len(ours) <= OURS, sorted(ours)
    assert 'kuryr_sriov.host.instance_metadata' not in ours
