# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of Neutron that counts, delays, fails and holds calls.

What it forwards is answered by the real server; a fault is what a load
balancer, a slow network or a dying server would do.
"""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from servers import LOOPBACK

_HOP_BY_HOP = {'connection', 'keep-alive', 'transfer-encoding'}


@dataclass
class Exchange:
    """One request, and what to do with it.

    :ivar status: answer this instead of asking Neutron.
    :ivar lose_request: hang up before Neutron hears of it.
    :ivar lose_answer: let Neutron do it, then hang up.
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

    def __str__(self) -> str:
        return f'{self.method} {self.path.partition("?")[0]}'


Rule = Callable[[Exchange], None]


class Hold:
    """A rule that stops one request, before or after Neutron did it.

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
    """The proxy; ``before`` and ``after`` rules are set by tests."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
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
        """Rules for the calls of the block, before and after Neutron."""
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
        if not exchange.status:
            self._forward(exchange)
        for rule in list(self.proxy.after):
            rule(exchange)
        if exchange.lose_answer or not exchange.status:
            self.close_connection = True
            return
        self._answer(exchange)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _forward(self, exchange: Exchange) -> None:
        connection = http.client.HTTPConnection(
            LOOPBACK, self.proxy.upstream, timeout=120
        )
        headers = dict(exchange.headers)
        if exchange.body:
            headers['Content-Length'] = str(len(exchange.body))
        try:
            connection.request(
                exchange.method, exchange.path, exchange.body, headers
            )
            answer = connection.getresponse()
            exchange.answer = answer.read()
            exchange.answer_headers = dict(answer.getheaders())
            exchange.status = answer.status
        except OSError:
            pass  # no server: hang up on the client too
        finally:
            connection.close()

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
