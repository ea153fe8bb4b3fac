# SPDX-License-Identifier: Apache-2.0
"""``/healthz``, ``/readyz`` and ``/metrics`` over HTTP."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kuryr_sriov import PermanentError

LOG = logging.getLogger(__name__)

Check = Callable[[], str]
"""What is wrong, in a sentence; empty for nothing."""


class HealthServer:
    """Answers the kubelet's probes and Prometheus, in threads of its own.

    :param address: host and port; an empty host stands for all addresses,
        port 0 for any that is free.
    :param registry: of prometheus_client.
    :param live: for ``/healthz``: while one complains the kubelet restarts
        the container.
    :param ready: for ``/readyz``, besides those.
    :raises PermanentError: the address cannot be had.
    """

    def __init__(
        self,
        address: tuple[str, int],
        registry: Any,
        live: Sequence[Check],
        ready: Sequence[Check],
    ) -> None:
        self._registry = registry
        self._checks = {
            '/healthz': tuple(live),
            '/readyz': (*live, *ready),
        }
        host, port = address
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        bound = type('_Bound', (_Server,), {'address_family': family})
        try:
            self._server = bound((host, port), _Handler)
        except OSError as error:
            raise PermanentError(
                f'nothing can listen on {host or "all addresses"}, port '
                f'{port}, for /metrics, /healthz and /readyz: {error}; see '
                'http_host and http_port, and whether another instance runs '
                'here'
            ) from error
        self._server.answer = self.answer
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=[0.05],  # seconds until it sees that it is to stop
            name='health',
            daemon=True,
        )

    @property
    def port(self) -> int:
        """The one that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()
        LOG.info('serves health and metrics on port %d', self.port)

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, media type and body for a path."""
        if path == '/metrics':
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path not in self._checks:
            return 404, 'text/plain', b'try /healthz, /readyz or /metrics\n'
        wrong = [said for check in self._checks[path] if (said := check())]
        text = '\n'.join(wrong) or 'ok'
        return 503 if wrong else 200, 'text/plain', f'{text}\n'.encode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    answer: Callable[[str], tuple[int, str, bytes]]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        status, media_type, body = self.server.answer(
            self.path.partition('?')[0]
        )
        self.send_response(status)
        self.send_header('Content-Type', media_type)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A probe every few seconds is no news."""
