# SPDX-License-Identifier: Apache-2.0
"""One API server: calls, lists in pages, and streams of changes.

Follows the Kubernetes API concepts (chunked lists, watches, ``Status``
objects for errors). All errors of urllib3 are mapped here.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from kuryr_sriov.clients.kubernetes.credentials import (
    Credentials,
    find_credentials,
    no_access,
)
from kuryr_sriov.clients.kubernetes.refusals import (
    Missing,
    explain_refusal,
    no_answer,
    parse_object,
)

# Any JSON is YAML, so that no YAML has to be written.
APPLY = 'application/apply-patch+yaml'
JSON = 'application/json'
MERGE_PATCH = 'application/merge-patch+json'

CONNECTIONS = 32
"""How many are kept open between calls; more are made when needed."""

# As kubectl has it.
PAGE = 500

_KEEPALIVE = (
    # A peer that vanished without a word is found out in about a minute,
    # also while a watch waits for the next event.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects, as the API server's paths have it.

    :param prefix: ``/api/v1``, or ``/apis/GROUP/VERSION``.
    :param plural: such as ``pods``.
    """

    prefix: str
    plural: str

    @property
    def api_version(self) -> str:
        """What objects of it have as ``apiVersion``."""
        return self.prefix.removeprefix('/apis/').removeprefix('/api/')

    def path(self, namespace: str = '', name: str = '', part: str = '') -> str:
        """The path of all objects, a namespace's, one, or a part of one."""
        words = ['namespaces', namespace] if namespace else []
        words += [self.plural, *filter(None, (name, part))]
        return '/'.join([self.prefix, *(quote(w, safe='') for w in words)])


class KubernetesSession:
    """A connection to the API server. Thread-safe; opened at first use.

    Errors that a retry may cure (no answer, 409, 410, 429, 5xx) are
    ``TransientError``, the others ``PermanentError``. A request whose
    connection breaks is sent a second time, and so is one that is answered
    with 401, with the credentials as they are by then: so use it for what
    may be done twice only.

    :param api_root: base URL where no credentials are needed, such as
        ``kubectl proxy``.
    :param kubeconfig: file with credentials. If this and ``api_root`` are
        empty, they are those of the service account of the pod that this
        runs in, or else of the file that ``KUBECONFIG`` names.
    :param timeout: seconds for one call.
    :param user_agent: what the API server's log calls us.
    :raises ConfigurationError: from every method: there are no
        credentials, or they cannot be used.
    """

    def __init__(
        self,
        api_root: str = '',
        kubeconfig: str = '',
        *,
        timeout: float = 10.0,
        user_agent: str = 'kuryr-sriov',
    ) -> None:
        self._api_root = api_root
        self._kubeconfig = kubeconfig
        self._timeout = timeout
        self._user_agent = user_agent
        self._lock = threading.Lock()
        self._connected: tuple[Credentials, Any] | None = None

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        media_type: str = JSON,
        *,
        query: Mapping[str, object] | None = None,
        missing: Missing | None = None,
    ) -> Mapping[str, Any]:
        """Make a call and return the object in the answer.

        :param missing: makes the error for a 404.
        """
        path += '?' + urlencode(query) if query else ''
        response, where = self._send_request(method, path, body, media_type)
        answer = parse_object(response.data)
        if 200 <= response.status < 300 and 'kind' in answer:
            return answer
        headers = response.headers
        raise explain_refusal(where, response.status, answer, missing, headers)

    def list_objects(
        self, path: str, query: Mapping[str, object] | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Pages of a list, each with ``items`` and its ``metadata``.

        :raises ResourceExpired: it took too long; begin again.
        """
        following: dict[str, object] = {}
        while True:
            asked = {**(query or {}), 'limit': PAGE, **following}
            page = self.call('GET', path, query=asked)
            yield page
            # Good for as long as etcd keeps that revision, five minutes by
            # default; then the answer is 410.
            token = page.get('metadata', {}).get('continue')
            if not token:
                return
            following = {'continue': token}

    @contextlib.contextmanager
    def open_watch(
        self, path: str, query: Mapping[str, object], silence: float
    ) -> Iterator[WatchStream]:
        """The stream of a watch; it lasts for as long as the server likes.

        :param silence: seconds without a byte after which it is given up.
        :raises ResourceExpired: its ``resourceVersion`` is too old.
        """
        path += '?' + urlencode({**query, 'watch': 1})
        response, where = self._send_request('GET', path, None, JSON, silence)
        with contextlib.closing(response):
            if response.status != 200:
                raise explain_refusal(
                    where, response.status, _read_refusal(response)
                )
            yield WatchStream(response, where)

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        with self._lock:
            if self._connected is not None:
                self._connected[1].clear()
                self._connected = None

    def _send_request(
        self,
        method: str,
        path: str,
        body: object,
        media_type: str,
        silence: float = 0.0,
    ) -> tuple[Any, str]:
        import urllib3

        timeout = (
            urllib3.Timeout(connect=self._timeout, read=silence)
            if silence
            else urllib3.Timeout(total=self._timeout)
        )
        data = None if body is None else json.dumps(body).encode()
        for last in (False, True):
            credentials, pool = self._open_pool()
            where = f'{method} {credentials.host}{path}'
            try:
                response = pool.request(
                    method,
                    credentials.host + path,
                    body=data,
                    headers=self._make_headers(
                        credentials, media_type if data else ''
                    ),
                    timeout=timeout,
                    # Retries of urllib3 would sleep past the caller's
                    # deadline, and a redirect would take the token elsewhere.
                    retries=False,
                    redirect=False,
                    preload_content=not silence,
                )
            except urllib3.exceptions.ProtocolError as error:
                if last:
                    raise no_answer(where, error) from error
            except urllib3.exceptions.HTTPError as error:
                raise no_answer(where, error) from error
            else:
                if response.status != 401 or last:
                    return response, where
                response.close()
                self.close()  # what was renewed in the file is read then
        raise AssertionError('the last attempt answers or raises')

    def _make_headers(
        self, credentials: Credentials, media_type: str
    ) -> dict[str, str]:
        return {
            'Accept': JSON,
            'User-Agent': self._user_agent,
            **({'Content-Type': media_type} if media_type else {}),
            **credentials.headers(),
        }

    def _open_pool(self) -> tuple[Credentials, Any]:
        with self._lock:
            if self._connected is None:
                found = find_credentials(self._api_root, self._kubeconfig)
                try:
                    self._connected = found, _pool_for(found)
                except OSError as error:  # ssl.SSLError is one
                    raise no_access(error) from error
            return self._connected


def _read_refusal(response: Any) -> Mapping[str, Any]:
    """The reason in an answer that was not read yet; it may break off."""
    import urllib3

    try:
        return parse_object(response.data)
    except urllib3.exceptions.HTTPError:
        return {}


class WatchStream:
    """The events of a watch, as the API server sends them."""

    def __init__(self, response: Any, where: str) -> None:
        self._response = response
        self._where = where

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Each event; ends when the server or ``interrupt`` ends it.

        :raises TransientError: the connection broke, or was silent.
        """
        import urllib3

        buffered = b''
        try:
            for chunk in self._response.stream(65536):
                *lines, buffered = (buffered + chunk).split(b'\n')
                for line in filter(bytes.strip, lines):
                    yield parse_object(line)
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(self._where, error) from error

    def interrupt(self) -> None:
        """End it, from another thread."""
        # urllib3 refuses where the stream has ended by itself
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()


def _pool_for(credentials: Credentials) -> Any:
    import urllib3

    options: dict[str, Any] = {
        'maxsize': CONNECTIONS,
        'socket_options': _KEEPALIVE,
    }
    if credentials.host.startswith('https:'):
        context = ssl.create_default_context(
            cafile=credentials.ca_file or None
        )
        if credentials.cert_file:
            context.load_cert_chain(
                credentials.cert_file, credentials.key_file or None
            )
        if not credentials.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        options['ssl_context'] = context
        if credentials.server_name:
            # What TLS asks for (SNI), and what the certificate has to name.
            options['server_hostname'] = credentials.server_name
            options['assert_hostname'] = credentials.server_name
    if credentials.proxy:
        return urllib3.ProxyManager(credentials.proxy, **options)
    return urllib3.PoolManager(**options)
