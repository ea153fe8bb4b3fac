# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests: made once, on loopback, with an end that comes."""

from __future__ import annotations

import abc
import fcntl
import hashlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

LOOPBACK = '127.0.0.1'


class ReservedPort:
    """A port of the loopback that stays ours while its server is down.

    The socket is bound and never listens: connections are refused while
    there is no server, and nobody else is given the port in between.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        return f'http://{LOOPBACK}:{self.number}'

    def release(self) -> None:
        self._socket.close()


class Server:
    """One server process; only ever ends the process it started.

    :param ready: URL that answers once the server works.
    :param ca: file with the certificate that it shows, if it has one by then.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | pathlib.Path],
        env: dict[str, str],
        log: pathlib.Path,
        ready: str,
        ca: pathlib.Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.env = env
        self.log = log
        self.ready = ready
        self.ca = ca
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start the process; `wait_ready` says when it answers."""
        with open(self.log, 'ab') as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Return once the server answers.

        :raises RuntimeError: it ended, or did not answer in time.
        """
        wait_for(self._answers, timeout, f'{self.name} to answer')

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """End the process, at once if it does not want to. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_ended(self, timeout: float) -> None:
        """Return once the process has ended by itself.

        :raises subprocess.TimeoutExpired: it has not.
        """
        if self._process is not None:
            self._process.wait(timeout)
            self._process = None

    def kill(self) -> None:
        """End the process as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            tail = self.log.read_text(errors='replace')[-4000:]
            raise RuntimeError(
                f'{self.name} ended with {self._process.returncode}:\n{tail}'
            )
        try:
            context = ssl.create_default_context(cafile=self.ca)
            with urllib.request.urlopen(
                self.ready, timeout=30, context=context
            ):
                return True
        except urllib.error.HTTPError:
            return False
        except OSError:
            return False


class Running(abc.ABC):
    """Servers that start and end together; a context manager."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start them; return when they work."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End everything that was started. Idempotent."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def wait_for(
    condition: Callable[[], object],
    timeout: float,
    what: str,
    pause: float = 0.05,
) -> None:
    """Return once the condition holds.

    :param pause: seconds from one look to the next.
    :raises RuntimeError: it did not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f'waited {timeout:g} s in vain for {what}')
        time.sleep(pause)


def cache_folder(name: str) -> pathlib.Path:
    """Where what is made once is kept.

    It is ``KURYR_SRIOV_<NAME>_CACHE``, by default the folder
    ``~/.cache/kuryr-sriov-<name>``.
    """
    chosen = os.environ.get(f'KURYR_SRIOV_{name.upper()}_CACHE')
    usual = pathlib.Path.home() / '.cache' / f'kuryr-sriov-{name}'
    return pathlib.Path(chosen).absolute() if chosen else usual


def made_once(
    name: str, key: bytes, make: Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """A folder that ``make`` has filled, kept for the next time.

    It is in its ``cache_folder``. Safe with several processes at once. What
    was cut short is thrown away and begun anew.

    :param key: with another one it is another folder.
    """
    cache = cache_folder(name)
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / hashlib.sha256(key).hexdigest()[:16]
    complete = folder / 'complete'
    with open(cache / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            complete.touch()
    return folder


def install(
    folder: pathlib.Path, env: dict[str, str], *requirements: str
) -> None:
    """A virtual environment with packages from the index.

    :param requirements: words for ``pip install``.
    :raises subprocess.CalledProcessError: pip failed.
    """
    venv = [sys.executable, '-m', 'venv', '--without-pip', folder]
    subprocess.run(venv, check=True, env=env)
    # what is imported is compiled then; all of it takes a minute
    pip = sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python'
    how = 'install', '--quiet', '--no-compile', '--no-deps'
    subprocess.run([*pip, *how, *requirements], check=True, env=env)
