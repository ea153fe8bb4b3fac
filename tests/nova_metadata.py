# SPDX-License-Identifier: Apache-2.0
"""What Nova writes into the config drive of an instance, by its own code.

Nova has a virtual environment of its own, made once: it pins half of
OpenStack.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import servers

FOLDER = pathlib.Path(__file__).parent / 'nova'
REQUIREMENTS = FOLDER / 'requirements.txt'
PROGRAM = FOLDER / 'describe_instance.py'


def ensure_installed() -> pathlib.Path:
    """Path of the Python that has Nova; installs it if need be.

    :raises subprocess.CalledProcessError: pip failed.
    """

    def make(folder: pathlib.Path) -> None:
        servers.install(
            folder, _environment(), '--requirement', str(REQUIREMENTS)
        )

    key = REQUIREMENTS.read_bytes() + sys.version.encode()
    return servers.made_once('nova', key, make) / 'bin' / 'python'


def describe_instance(told: dict[str, Any]) -> Any:
    """The ``network_data.json`` of an instance.

    :param told: what Neutron tells: ``ports``, ``networks``, ``subnets``.
    """
    ended = subprocess.run(
        [ensure_installed(), PROGRAM],
        input=json.dumps(told),
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


def _environment() -> dict[str, str]:
    env = dict(os.environ)
    env.pop('PYTHONPATH', None)
    env['PYTHONWARNINGS'] = 'ignore'
    return env
