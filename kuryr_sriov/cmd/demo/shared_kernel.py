# SPDX-License-Identifier: Apache-2.0
"""A simulated kernel for the other processes of this user."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from kuryr_sriov.testing.simulation.simulated_host import SimulatedHost

Call = Callable[..., Any]


class KernelServer(socketserver.ThreadingUnixStreamServer):
    """Answers the calls of other processes, until it is closed.

    What is sent is pickled, which is safe: only this user can enter the
    folder of the socket.

    :param call: entry of the simulated kernel, ``SimulatedHost.call``.
    :ivar address: for ``connect_host``.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, call: Call) -> None:
        self.call = call
        self._folder = tempfile.TemporaryDirectory(prefix='simulated-node-')
        self.address = os.path.join(self._folder.name, 'kernel')
        super().__init__(self.address, _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def server_close(self) -> None:
        """Serve no longer."""
        self.shutdown()
        self._thread.join()
        super().server_close()
        self._folder.cleanup()


def connect_host(address: str) -> SimulatedHost:
    """The node whose kernel another process serves at ``address``."""
    return SimulatedHost(_RemoteKernel(address))


class _Handler(socketserver.StreamRequestHandler):
    server: KernelServer

    def handle(self) -> None:
        # A client may be killed at any point of this.
        with contextlib.suppress(
            EOFError, pickle.UnpicklingError, BrokenPipeError
        ):
            arguments, named = pickle.load(self.rfile)
            pickle.dump(self._call_kernel(arguments, named), self.wfile)

    def _call_kernel(self, arguments: Any, named: Any) -> tuple[Any, Any]:
        try:
            return self.server.call(*arguments, **named), None
        except Exception as error:  # is raised in the process that asked
            return None, error


class _RemoteKernel:
    """A kernel's ``call`` over a unix socket, one connection each."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._address)
            with connection.makefile('rwb') as stream:
                pickle.dump((arguments, named), stream)
                stream.flush()
                answer, error = pickle.load(stream)
        if error is not None:
            raise error
        return answer
