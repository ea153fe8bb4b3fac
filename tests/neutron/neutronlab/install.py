# SPDX-License-Identifier: Apache-2.0
"""The servers' virtual environment, installed once and kept in a cache.

They get one of their own, because Neutron pins half of OpenStack and the
library must be tested against what it says it needs, no more.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

REQUIREMENTS = pathlib.Path(__file__).parent.parent / 'requirements.txt'


def cache_folder() -> pathlib.Path:
    """Where environments are kept, whether it exists yet or not."""
    folder = os.environ.get('KURYR_SRIOV_NEUTRON_CACHE')
    if folder:
        return pathlib.Path(folder).absolute()
    return pathlib.Path.home() / '.cache' / 'kuryr-sriov-neutron'


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

    Safe with several processes at once. An installation that was cut short
    is thrown away and begun anew.

    :raises subprocess.CalledProcessError: pip failed.
    """
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(REQUIREMENTS.read_bytes())
    digest.update(sys.version.encode())
    folder = cache / digest.hexdigest()[:16]
    python = folder / 'bin' / 'python'
    complete = folder / 'complete'
    with _locked(cache / 'lock'):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, python)
            complete.touch()
    return python


def _install(folder: pathlib.Path, python: pathlib.Path) -> None:
    env = server_environment()
    venv = [sys.executable, '-m', 'venv', '--without-pip', folder]
    subprocess.run(venv, check=True, env=env)
    # the servers compile what they import; all of it takes a minute
    subprocess.run(
        [
            *(sys.executable, '-m', 'pip', '--python', python),
            *('install', '--quiet', '--no-compile', '--no-deps'),
            *('--requirement', REQUIREMENTS),
        ],
        check=True,
        env=env,
    )


@contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    with open(path, 'w') as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
