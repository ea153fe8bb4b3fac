# SPDX-License-Identifier: Apache-2.0
"""HTTP over a unix socket, for the CNI plugin that the runtime starts."""

from __future__ import annotations

import http.server
import json
import logging
import os
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kuryr_sriov import KuryrSriovError, TransientError
from kuryr_sriov_daemon.node.cni_request import (
    CONTENT,
    ENVIRONMENT,
    NEWEST,
    CniError,
    CniRequest,
    read_request,
)
from kuryr_sriov_daemon.node.cni_result import (
    INTERNAL,
    TRY_AGAIN_LATER,
    code_of,
    error_object,
)

LOG = logging.getLogger(__name__)

LARGEST = 1 << 20
"""Bytes of a network configuration, at most; the plugin sends no more."""

PATIENCE = 10.0
"""Seconds for a client to send its request, or to take its answer."""

MOST_AT_ONCE = 1024
"""Requests in progress; a node has some hundred pods at most."""

Gone = Callable[[], bool]
"""Tells whether the plugin that asked has given up."""


Observe = Callable[[str, int, float], None]


def ignore_request(command: str, code: int, seconds: float) -> None:
    """The observer that looks away."""


class Commands(Protocol):
    """What serves the requests."""

    def serve(
        self, request: CniRequest, gone: Gone
    ) -> Mapping[str, Any] | None:
        """The result, None for an empty one."""

    def finish(self, request: CniRequest, delivered: bool) -> None:
        """Do what is to be done after a good answer.

        :param delivered: whether the plugin has taken it.
        """


class CniServer(socketserver.ThreadingUnixStreamServer):
    """Serves from construction on, a thread for each request.

    Whoever connects must be root, or the user that this process is.

    :param path: of the socket; one that a killed process has left there is
        replaced.
    :param observe: is told command, error code (0 for success) and seconds
        of each request.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, path: Path, commands: Commands, observe: Observe = ignore_request
    ) -> None:
        self.commands = commands
        self.observe = observe
        self._path = path
        self._idle = threading.Condition()
        self._running = 0
        new = path.with_name(path.name + '.new')
        new.unlink(missing_ok=True)
        super().__init__(str(new), _Handler)
        os.chmod(new, 0o600)
        # Nobody can connect before it is complete, or find none at all.
        os.rename(new, path)
        self._thread = threading.Thread(
            target=self.serve_forever, args=[0.1], name='cni-server'
        )
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Take no more requests, and wait for those in progress.

        :return: whether all ended within ``timeout`` seconds.
        """
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._idle:
            idle = self._idle.wait_for(lambda: not self._running, timeout)
        self._path.unlink(missing_ok=True)
        return idle

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for it, unless there are too many already."""
        with self._idle:
            admitted = self._running < MOST_AT_ONCE
            self._running += admitted
        if admitted:
            super().process_request(request, client_address)
            return
        body = error_object(
            NEWEST, TRY_AGAIN_LATER, 'the node daemon has too much to do'
        )
        data = json.dumps(body).encode()
        head = f'HTTP/1.1 503 Busy\r\nContent-Length: {len(data)}\r\n\r\n'
        request.sendall(head.encode() + data)
        self.shutdown_request(request)

    def process_request_thread(
        self, request: Any, client_address: Any
    ) -> None:
        """Serve it, in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A request that ended by itself, to the log."""
        LOG.exception('a request of the CNI plugin ended')


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request of the plugin."""

    protocol_version = 'HTTP/1.1'
    timeout = PATIENCE
    server: CniServer
    connection: socket.socket

    def do_POST(self) -> None:
        """Serve it, answer, and do what comes after the answer."""
        self.close_connection = True
        try:
            request = self._read_request()
        except CniError as error:
            self._send_answer(
                400, error_object(error.version, error.code, str(error))
            )
            return
        began, code = time.monotonic(), 0
        try:
            result = self.server.commands.serve(request, self._is_gone)
        except Exception as error:
            status, body = _explain_failure(request, error)
            code = int(body['code'])
            self._send_answer(status, body)
        else:
            delivered = not self._is_gone() and self._send_answer(200, result)
        seconds = time.monotonic() - began
        self.server.observe(request.command, code, seconds)
        if not code:
            self.server.commands.finish(request, delivered)

    def _read_request(self) -> CniRequest:
        """The request.

        :raises CniError: it is none, or not from whom it should be.
        """
        uid = _peer_uid(self.connection)
        if uid not in (0, os.geteuid()):
            raise CniError(ENVIRONMENT, f'user {uid} may not use this socket')
        length = self.headers.get('Content-Length', '')
        if self.path != '/cni' or not length.isdecimal():
            raise CniError(CONTENT, 'this is no request of our CNI plugin')
        if int(length) > LARGEST:
            raise CniError(CONTENT, f'more than {LARGEST} bytes')
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise CniError(CONTENT, 'the request was cut short')
        return read_request(dict(self.headers), body)

    def _send_answer(
        self, status: int, body: Mapping[str, Any] | None
    ) -> bool:
        """Send it; whether the plugin took it."""
        data = b'' if body is None else json.dumps(body).encode() + b'\n'
        try:
            self.send_response(status)
            self.send_header('Content-Length', str(len(data)))
            self.send_header('Connection', 'close')
            self.end_headers()
            self.wfile.write(data)
            # The plugin reads to the end; what comes after is not for it.
            self.connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            LOG.warning('the CNI plugin did not take its answer: %s', error)
            return False
        return True

    def _is_gone(self) -> bool:
        poll = select.poll()
        # The plugin closes its end when the runtime has killed it.
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(0))

    def address_string(self) -> str:
        """A unix socket has no address of its client."""
        return 'plugin'

    def log_message(self, format: str, *args: object) -> None:
        """To the log."""
        LOG.debug(format, *args)


def _explain_failure(
    request: CniRequest, error: Exception
) -> tuple[int, Mapping[str, Any]]:
    """Status and body for a request that failed; it is logged here."""
    if isinstance(error, CniError | KuryrSriovError):
        # The library has told what it did; this is what was answered.
        LOG.info('%s: %s', request, error)
        message, code = str(error), code_of(error)
    else:
        LOG.exception('%s', request)
        message, code = f'a defect of kuryr-sriov: {error!r}', INTERNAL
    status = 503 if isinstance(error, TransientError) else 500
    return status, error_object(request.version, code, message)


def _peer_uid(connection: socket.socket) -> int:
    """Who is at the other end of a unix socket: ``struct ucred``."""
    # pid, uid, gid, as the kernel saw them when the client connected.
    form = struct.Struct('3i')
    data = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, form.size
    )
    _, uid, _ = form.unpack(data)
    return int(uid)
