# SPDX-License-Identifier: Apache-2.0
"""Programs of pods, as tests run them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import vfioprogram
from labnode import Device


@contextlib.contextmanager
def drive(device: Device, group: str) -> Iterator[dict[str, Any]]:
    """A program that drives the function by VFIO; what it tells of it.

    :param group: path of the group's device node.
    """
    words = sys.executable, vfioprogram.__file__
    program = subprocess.Popen(
        [*words, group.removeprefix('/dev/vfio/'), device.pci],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            assert program.stdout is not None
            told: dict[str, Any] = json.loads(program.stdout.readline())
            yield told
            program.communicate(timeout=60)
            assert program.returncode == 0
        finally:
            program.kill()
            program.wait(60)  # which Popen leaves out after Ctrl-C
