# SPDX-License-Identifier: Apache-2.0
"""The servers' virtual environment.

They get one of their own, because Neutron pins half of OpenStack and the
library must be tested against what it says it needs, no more.
"""

from __future__ import annotations

import os
import pathlib
import sys

import servers

REQUIREMENTS = pathlib.Path(__file__).parent.parent / 'requirements.txt'


def server_environment() -> dict[str, str]:
    """Environment variables for the servers' processes."""
    env = dict(os.environ)
    # without byte code each start compiles all of Neutron again (10 s)
    env.pop('PYTHONDONTWRITEBYTECODE', None)
    env.pop('PYTHONPATH', None)
    # no variable of a real cloud may reach the servers or their set-up
    for name in [name for name in env if name.startswith('OS_')]:
        del env[name]
    env['PYTHONWARNINGS'] = 'ignore'
    return env


def ensure_installed() -> pathlib.Path:
    """Path of the Python that has Neutron and Keystone; installs if need be.

    :raises subprocess.CalledProcessError: pip failed.
    """

    def make(folder: pathlib.Path) -> None:
        env = server_environment()
        servers.install(folder, env, '--requirement', str(REQUIREMENTS))

    key = REQUIREMENTS.read_bytes() + sys.version.encode()
    return servers.made_once('neutron', key, make) / 'bin' / 'python'
