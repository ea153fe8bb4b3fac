# SPDX-License-Identifier: Apache-2.0
"""``make cluster`` and ``make images``."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from kubelab.install import ensure_installed, ensure_runtime_installed

from tools.lab.prepare import prepare
from tools.lab.process import need
from tools.lab.topology import NODE_ADDRESS

from . import images
from .machine import REPOSITORY

ENTER = f"""
ip link set lo up
ip route add local {NODE_ADDRESS} dev lo src 127.0.0.1
exec "$@"
"""
"""In a network namespace of its own, where nothing of the host is reached,
and the node's machine has an address."""


def make_all() -> None:
    """Build and fetch what is missing: needs the network."""
    ensure_installed()
    ensure_runtime_installed()
    prepare(pathlib.Path(sys.executable), REPOSITORY)
    images.ensure_disk(images.ensure_pod_image())


def isolated(*words: str) -> int:
    """Status of a command without the host's network."""
    command = need('unshare', 'util-linux'), '--net', 'sh', '-euc', ENTER
    return subprocess.run([*command, 'sh', *words], check=False).returncode


def main(action: str, *words: str) -> int:
    """``test PYTEST-ARGUMENT ...``, or ``images``."""
    if action == 'images':
        for archive in images.ensure_daemon_images().values():
            print(archive)
        return 0
    make_all()
    tests = str(REPOSITORY / 'tests/cluster')
    return isolated(sys.executable, '-m', 'pytest', *words, tests)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
