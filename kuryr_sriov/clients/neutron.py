# SPDX-License-Identifier: Apache-2.0
"""Neutron's API v2.0, as far as ports need it.

Requests and answers are Neutron's own JSON objects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron_session
from kuryr_sriov.clients.neutron_refusals import (
    NeutronDenied,
    NeutronRefused,
    explain_refusal,
)
from kuryr_sriov.clients.turns import SharedCalls

__all__ = ['NeutronClient', 'NeutronDenied', 'NeutronRefused', 'Resource']

Resource = dict[str, Any]
"""One port, subnet, network or policy, as Neutron's API describes it."""

Filters = Mapping[str, str | Sequence[str]]
"""Of a list; of several values any one fits."""

IDS_AT_ONCE = 100
"""4 KB of a request's first line, of which servers take 8 at most."""

_LISTINGS = 5


TellCall = Callable[[str, float, BaseException | None], object]


def ignore_call(
    what: str, seconds: float, error: BaseException | None
) -> None:
    """For those who do not count requests."""


class NeutronClient:
    """Neutron's API; connects at the first call. Thread-safe.

    Every method raises these:

    :raises ProviderUnavailable: no answer, or one that says "not now"; the
        request may have been carried out all the same.
    :raises ProviderExhausted: addresses or quota are used up.
    :raises NeutronDenied: our credentials or roles do not suffice.
    :raises NeutronRefused: any other refusal.
    :raises ConfigurationError: ``[neutron]`` cannot be used as it is.
    :param conf: the section ``[neutron]``.
    :ivar tell_call: is told each request (``POST ports``), its seconds, and
        the error that it failed with, or None.
    """

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._connecting: SharedCalls[Any] = SharedCalls()
        self._adapter: Any = None
        self.tell_call: TellCall = ignore_call

    def create_ports(self, ports: Sequence[Resource]) -> list[Resource]:
        """Make all of the ports, or none, in one request."""
        answer = self._call_api('POST', '/ports', json={'ports': list(ports)})
        return _read_list(answer, 'ports')

    def update_port(self, port: str, changes: Resource) -> Resource:
        """The port as it is after the change."""
        answer = self._call_api(
            'PUT', f'/ports/{port}', json={'port': changes}
        )
        return _read_object(answer, 'port')

    def delete_port(self, port: str, revision: int | None = None) -> None:
        """Delete the port; one that is gone already is no error.

        :param revision: delete it only as it was then.
        :raises ProviderUnavailable: it has changed since.
        """
        more: dict[str, Any] = {}
        if revision is not None:
            # Neutron's extension revision-if-match, in every release since
            # Pike; a Neutron without it ignores the header
            more['headers'] = {'If-Match': f'revision_number={revision}'}
        try:
            self._call_api('DELETE', f'/ports/{port}', **more)
        except NeutronRefused as error:
            # Deleted by hand, or by an earlier attempt whose answer was lost.
            if error.status != 404:
                raise

    def get(self, collection: str, name: str, id: str) -> Resource:
        """One resource: ``get('subnets', 'subnet', id)``."""
        return _read_object(self._call_api('GET', f'/{collection}/{id}'), name)

    def find(self, collection: str, name_or_id: str) -> list[Resource]:
        """All that have that name, or that id."""
        for key in ('name', 'id'):
            answer = self._call_api(
                'GET', f'/{collection}', params={key: name_or_id}
            )
            found = _read_list(answer, collection)
            if found:
                return found
        return []

    def find_active_ports(self, ids: Iterable[str]) -> Iterator[str]:
        """Ids of those of the ports that are ACTIVE."""
        wanted = sorted(ids)
        for start in range(0, len(wanted), IDS_AT_ONCE):
            asked = {
                'id': wanted[start : start + IDS_AT_ONCE],
                'status': 'ACTIVE',
                'fields': 'id',
            }
            for port in self.list_ports(asked)[0]:
                yield port['id']

    def list_ports(self, filters: Filters) -> tuple[list[Resource], datetime]:
        """All ports that match, and what time it is by Neutron's clock."""
        for _attempt in range(_LISTINGS):
            try:
                ports, answer = self._list_all('ports', filters)
                return ports, _server_date(answer)
            except NeutronRefused as error:
                if error.type != 'PortNotFound':
                    raise
                # the last port of a page was deleted before the next one
        raise exceptions.ProviderUnavailable(
            'ports were deleted faster than Neutron could list them'
        )

    def _list_all(
        self, collection: str, filters: Filters
    ) -> tuple[list[Resource], Any]:
        """All pages of a listing, and the last answer."""
        found: list[Resource] = []
        params: Filters | None = filters
        url = f'/{collection}'
        while True:
            answer = self._call_api('GET', url, params=params)
            found += _read_list(answer, collection)
            following = [
                link['href']
                for link in answer.json().get(f'{collection}_links', ())
                if link['rel'] == 'next'
            ]
            if not following:
                return found, answer
            # the path only: a server behind a proxy may not know its name
            query = urlsplit(following[0]).query
            url, params = f'/{collection}?{query}', None

    def list_agents(self) -> dict[str, bool]:
        """Whether the SR-IOV agent of each host is alive.

        None for a user who may not see them.
        """
        params = {'binary': 'neutron-sriov-nic-agent'}
        try:
            agents, _answer = self._list_all('agents', params)
        except (NeutronDenied, NeutronRefused):
            return {}
        return {agent['host']: bool(agent['alive']) for agent in agents}

    def set_tags(self, port: str, tags: Sequence[str]) -> None:
        """Replace the tags of the port."""
        body = {'tags': list(tags)}
        self._call_api('PUT', f'/ports/{port}/tags', json=body)

    def list_roles(self) -> frozenset[str]:
        """Names of the roles that the credentials have."""
        adapter = self._get_adapter()
        with neutron_session.map_errors():
            access = adapter.session.auth.get_access(adapter.session)
            return frozenset(access.role_names)

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        with self._lock:
            adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.session.session.close()

    def _call_api(self, method: str, url: str, **more: Any) -> Any:
        """The answer; whoever wants to know is told how the request went."""
        began = time.monotonic()
        error: BaseException | None = None
        try:
            return self._request_once(method, url, **more)
        except BaseException as raised:
            error = raised
            raise
        finally:
            what = f'{method} {urlsplit(url).path.split("/")[1]}'
            self.tell_call(what, time.monotonic() - began, error)

    def _request_once(self, method: str, url: str, **more: Any) -> Any:
        adapter = self._get_adapter()
        if method == 'POST':
            # who repeats a POST that got lost makes a second port
            more.update(connect_retries=0, status_code_retries=0)
        try:
            with neutron_session.map_errors():
                answer = adapter.request(url, method, raise_exc=False, **more)
            if answer.status_code >= 400:
                raise explain_refusal(answer)
        except NeutronDenied:
            # the next call begins with a new token, which has the roles that
            # were given since, and with what clouds.yaml says by then
            self.close()
            raise
        return answer

    def _get_adapter(self) -> Any:
        return self._adapter or self._connecting.share('', self._open_adapter)

    def _open_adapter(self) -> Any:
        with neutron_session.map_errors():
            adapter = neutron_session.make_adapter(self._conf)
        with self._lock:
            self._adapter = adapter
        return adapter


def _read_object(answer: Any, name: str) -> Resource:
    """The JSON object of that name in an answer that says "well done"."""
    try:
        found = answer.json()[name]
        if not isinstance(found, dict):
            raise TypeError(f'{name} is no object')
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable_answer(answer, error) from error
    return found


def _read_list(answer: Any, name: str) -> list[Resource]:
    """The list of JSON objects of that name."""
    try:
        found = answer.json()[name]
        if not all(isinstance(each, dict) for each in found):
            raise TypeError(f'{name} is no list of objects')
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable_answer(answer, error) from error
    return cast(list[Resource], found)


def _unreadable_answer(
    answer: Any, error: Exception
) -> exceptions.ProviderUnavailable:
    # a proxy's page, or an answer that was cut off; what was asked for may
    # have been done
    return exceptions.ProviderUnavailable(
        f'the answer of Neutron (HTTP {answer.status_code}, '
        f'{len(answer.content)} bytes) cannot be read: '
        f'{type(error).__name__}: {error}; see what is between us and Neutron'
    )


def _server_date(answer: Any) -> datetime:
    try:
        date = parsedate_to_datetime(answer.headers['Date'])
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)
