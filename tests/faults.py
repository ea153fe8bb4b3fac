# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of a server that counts, delays, fails and holds calls.

What it forwards is answered by the real server; a fault is what a load
balancer, a slow network or a dying server would do.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import pathlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from servers import LOOPBACK

_HOP_BY_HOP = {'connection', 'keep-alive', 'transfer-encoding'}


@dataclass
class Exchange:
    """One request, and what to do with it.

    :ivar status: answer this instead of asking the server.
    :ivar lose_request: hang up before the server hears of it.
    :ivar lose_answer: let the server do it, then hang up.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer: bytes = b''
    answer_headers: dict[str, str] = field(default_factory=dict)
    lose_request: bool = False
    lose_answer: bool = False

    @property
    def is_watch(self) -> bool:
        """Whether it is answered by a stream of changes (Kubernetes)."""
        return 'watch=1' in self.path

    def __str__(self) -> str:
        return f'{self.method} {self.path.partition("?")[0]}'


Rule = Callable[[Exchange], None]


class Hold:
    """A rule that stops one request, before or after the server did it.

    :param number: which matching request, from 1.
    :ivar reached: set once the request is held.
    :ivar go: set it to let the request go on.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.reached = threading.Event()
        self.go = threading.Event()
        self._lock = threading.Lock()
        self._seen = 0

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._seen += 1
            mine = self._seen == self.number
        if mine:
            self.reached.set()
            self.go.wait(60)


class FaultProxy:
    """The proxy; ``before`` and ``after`` rules are set by tests.

    :param upstream: port of the server on the loopback.
    :param ca: file with the server's certificate, if it speaks TLS.
    :param headers: sent in place of the client's own.
    :ivar streams: connections of the watches that are passed on now.
    """

    def __init__(
        self,
        upstream: int,
        ca: pathlib.Path | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.upstream = upstream
        self.headers = headers or {}
        self._ca = ca
        self.streams: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self.before: list[Rule] = []
        self.after: list[Rule] = []
        self.calls: list[Exchange] = []
        handler = type('Handler', (_Handler,), {'proxy': self})
        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), handler)
        self._server.daemon_threads = True
        self.url = f'http://{LOOPBACK}:{self._server.server_port}'
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """Forget all rules and calls."""
        self.before.clear()
        self.after.clear()
        self.calls.clear()

    def connect(self) -> http.client.HTTPConnection:
        """To the server."""
        if self._ca is None:
            return http.client.HTTPConnection(
                LOOPBACK, self.upstream, timeout=120
            )
        context = ssl.create_default_context(cafile=self._ca)
        return http.client.HTTPSConnection(
            LOOPBACK, self.upstream, timeout=120, context=context
        )

    @contextmanager
    def streaming(
        self, connection: http.client.HTTPConnection
    ) -> Iterator[None]:
        """``cut_streams`` ends the connection during the block."""
        with self._lock:
            self.streams.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self.streams.discard(connection)

    def cut_streams(self) -> int:
        """Break all watches; how many."""
        with self._lock:
            streams = list(self.streams)
        for connection in streams:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        return len(streams)

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The calls of the block, such as ``POST /v2.0/ports``."""
        start = len(self.calls)
        calls: list[str] = []
        yield calls
        calls.extend(str(call) for call in self.calls[start:])

    @contextmanager
    def fault(
        self, before: Rule | None = None, after: Rule | None = None
    ) -> Iterator[None]:
        """Rules for the calls of the block, before and after the server."""
        if before:
            self.before.append(before)
        if after:
            self.after.append(after)
        try:
            yield
        finally:
            if before:
                self.before.remove(before)
            if after:
                self.after.remove(after)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    proxy: FaultProxy

    def _serve(self) -> None:
        length = int(self.headers.get('Content-Length') or 0)
        exchange = Exchange(
            self.command,
            self.path,
            dict(self.headers.items()),
            self.rfile.read(length),
        )
        self.proxy.calls.append(exchange)
        for rule in list(self.proxy.before):
            rule(exchange)
        if exchange.lose_request:
            self.close_connection = True
            return
        if not exchange.status and exchange.is_watch:
            self._stream(exchange)
            return
        if not exchange.status:
            self._forward(exchange)
        for rule in list(self.proxy.after):
            rule(exchange)
        if exchange.lose_answer or not exchange.status:
            self.close_connection = True
            return
        self._answer(exchange)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _forward(self, exchange: Exchange) -> None:
        connection = self.proxy.connect()
        try:
            answer = self._ask(connection, exchange)
            exchange.answer = answer.read()
            exchange.answer_headers = dict(answer.getheaders())
            exchange.status = answer.status
        except (OSError, http.client.HTTPException):
            pass  # no server: hang up on the client too
        finally:
            connection.close()

    def _stream(self, exchange: Exchange) -> None:
        """Pass a watch on until either side ends it."""
        self.close_connection = True
        connection = self.proxy.connect()
        try:
            answer = self._ask(connection, exchange)
            with self.proxy.streaming(connection):
                self.send_response_only(answer.status)
                self.send_header('Transfer-Encoding', 'chunked')
                self.end_headers()
                while data := answer.read1(65536):
                    self.wfile.write(b'%x\r\n%b\r\n' % (len(data), data))
        except (OSError, http.client.HTTPException):
            pass  # cut: the client sees an end that is none
        finally:
            connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, exchange: Exchange
    ) -> http.client.HTTPResponse:
        headers = {**exchange.headers, **self.proxy.headers}
        if exchange.body:
            headers['Content-Length'] = str(len(exchange.body))
        connection.request(
            exchange.method, exchange.path, exchange.body, headers
        )
        return connection.getresponse()

    def _answer(self, exchange: Exchange) -> None:
        try:
            self.send_response_only(exchange.status)
            for name, value in exchange.answer_headers.items():
                if name.lower() not in _HOP_BY_HOP | {'content-length'}:
                    self.send_header(name, value)
            self.send_header('Content-Length', str(len(exchange.answer)))
            self.end_headers()
            self.wfile.write(exchange.answer)
        except OSError:
            self.close_connection = True  # the client was killed

    def log_message(self, *args: object) -> None:
        pass
