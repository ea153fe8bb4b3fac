# SPDX-License-Identifier: Apache-2.0
"""Runs commands in the lab's machine for a program outside of it.

``python3 -m tools.lab.agent PORT`` is a command for the machine; what it
takes is JSON by HTTP. It ends, and the machine with it, when it is told to.
The machine can be reached at the ports its topology names, and from this
host only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Services:
    """Programs that go on until they are stopped, by name."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, argv: list[str], stdin: str, timeout: float) -> Any:
        """What a command that ends by itself says, and its status."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(stdin.encode(), timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err += f'{argv[0]} did not end in {timeout:g} s'.encode()
        return {
            'status': process.returncode,
            'stdout': out.decode(errors='replace'),
            'stderr': err.decode(errors='replace'),
        }

    def write(self, path: str, text: str, mode: int) -> None:
        """Make a file with its folders; it appears complete or not at all."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f'.{target.name}.new')
        new.write_text(text, encoding='utf-8')
        new.chmod(mode)
        new.rename(target)

    def start(
        self, name: str, argv: list[str], env: dict[str, str], log: str
    ) -> None:
        """Start a service in a cgroup of its own, as systemd would.

        :raises ValueError: one of that name is running.
        """
        old = self._running.get(name)
        if old is not None and old.poll() is None:
            raise ValueError(f'{name} is running')
        group = Path('/sys/fs/cgroup/services') / name
        group.mkdir(parents=True, exist_ok=True)
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        with open(log, 'ab') as out:
            self._running[name] = subprocess.Popen(
                ['sh', '-c', enter, name, *argv],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def stop(self, name: str, number: int, timeout: float) -> Any:
        """End a service, but not what it started.

        :raises subprocess.TimeoutExpired: it did not end in time.
        """
        process = self._running[name]
        process.send_signal(number)
        return process.wait(timeout)

    def alive(self) -> Any:
        """Names of the services that run."""
        running = self._running.items()
        return [name for name, each in running if each.poll() is None]


def handler(
    services: Services, end: Callable[[], None]
) -> type[BaseHTTPRequestHandler]:
    """A class of handlers that pass on what they are asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, services.alive())

        def do_POST(self) -> None:
            name = self.path.removeprefix('/')
            size = int(self.headers['Content-Length'])
            asked = json.loads(self.rfile.read(size))
            if name == 'end':
                self._answer(200, None)
                end()
                return
            try:
                self._answer(200, getattr(services, name)(**asked))
            except Exception as error:
                self._answer(500, f'{type(error).__name__}: {error}')

        def _answer(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler


def main(port: int) -> None:
    """Serve until told to end."""

    def end() -> None:
        # not from a request's own thread, which the server waits for
        threading.Thread(target=server.shutdown).start()

    server = ThreadingHTTPServer(('', port), handler(Services(), end))
    print(f'agent: port {port}', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main(int(sys.argv[1]))
