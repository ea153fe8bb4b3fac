# SPDX-License-Identifier: Apache-2.0
"""Neutron's API v2.0, as far as ports need it: the only openstacksdk user.

Requests and answers are Neutron's own JSON objects. openstacksdk brings
credentials, the service catalogue and re-authentication; its resource
classes stay out of it, for they send again what a failed update left in
them, and hide Neutron's error types.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import openstack
from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import loading, session
from openstack import connection
from openstack import exceptions as sdk_exceptions

from kuryr_sriov import exceptions
from kuryr_sriov.clients.turns import SharedCalls

Resource = dict[str, Any]
"""One port, subnet, network or policy, as Neutron's API describes it."""

AUTH_TYPES = ('password', 'v3applicationcredential', 'v3token', 'none')
"""Plugins whose options are known; others go through clouds.yaml."""

TIMEOUT = 60.0
"""Seconds for one answer, unless ``[neutron] timeout`` says otherwise."""

_LISTINGS = 5

_EXHAUSTED = {
    'OverQuota',
    'IpAddressGenerationFailure',
    'IpAddressGenerationFailureAllSubnets',
    'IpAddressGenerationFailureNoMatchingSubnet',
    'MacAddressGenerationFailure',
    # a pod that comes again may ask for what its predecessor still holds
    'IpAddressAlreadyAllocated',
    'IpAddressInUse',
    'MacAddressInUse',
}

_ROLES = (
    'the user of [neutron] needs the roles "member" and "service" in its '
    'project: writing binding:profile wants "service" since 2024.1, and '
    '"admin" alone does not have it'
)


class NeutronRefused(exceptions.ProviderRefused):
    """Neutron says no.

    :param type: Neutron's name for the error, such as ``PortNotFound``.
    :param status: of the HTTP answer.
    """

    def __init__(self, message: str, type: str = '', status: int = 0) -> None:
        super().__init__(message)
        self.type = type
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return self.__class__, (self.args[0], self.type, self.status)


class NeutronDenied(exceptions.ProviderDenied):
    """Neutron or Keystone do not let us, until somebody gives us the right.

    :param type: Neutron's name for the error, such as ``PolicyNotAuthorized``.
    :param status: of the HTTP answer.
    """

    def __init__(self, message: str, type: str = '', status: int = 0) -> None:
        super().__init__(message)
        self.type = type
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return self.__class__, (self.args[0], self.type, self.status)


def options() -> list[Any]:
    """oslo.config options of ``[neutron]``: keystoneauth's, as ever."""
    found = [
        *loading.get_session_conf_options(),
        *loading.get_auth_common_conf_options(),
        *loading.get_adapter_conf_options(),
    ]
    for name in AUTH_TYPES:
        found += loading.get_auth_plugin_conf_options(name)
    # plugins share most of their options; the first one has old names too
    unique: dict[str, Any] = {}
    for option in found:
        unique.setdefault(option.dest, option)
        option.required = False  # with a cloud, clouds.yaml has it
    return list(unique.values())


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
    """

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._connecting: SharedCalls[Any] = SharedCalls()
        self._adapter: Any = None

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

    def list_ports(
        self, filters: Mapping[str, str]
    ) -> tuple[list[Resource], datetime]:
        """All ports that match, and what time it is by Neutron's clock."""
        for _attempt in range(_LISTINGS):
            try:
                return self._list_ports(filters)
            except NeutronRefused as error:
                if error.type != 'PortNotFound':
                    raise
                # the last port of a page was deleted before the next one
        raise exceptions.ProviderUnavailable(
            'ports were deleted faster than Neutron could list them'
        )

    def _list_ports(
        self, filters: Mapping[str, str]
    ) -> tuple[list[Resource], datetime]:
        ports: list[Resource] = []
        params: Mapping[str, str] | None = filters
        url = '/ports'
        while True:
            answer = self._call_api('GET', url, params=params)
            ports += _read_list(answer, 'ports')
            following = [
                link['href']
                for link in answer.json().get('ports_links', ())
                if link['rel'] == 'next'
            ]
            if not following:
                return ports, _server_date(answer)
            # the path only: a server behind a proxy may not know its name
            url, params = '/ports?' + urlsplit(following[0]).query, None

    def set_tags(self, port: str, tags: Sequence[str]) -> None:
        """Replace the tags of the port."""
        body = {'tags': list(tags)}
        self._call_api('PUT', f'/ports/{port}/tags', json=body)

    def roles(self) -> frozenset[str]:
        """Names of the roles that the credentials have."""
        adapter = self._get_adapter()
        with _mapped():
            access = adapter.session.auth.get_access(adapter.session)
            return frozenset(access.role_names)

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        with self._lock:
            adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.session.session.close()

    def _call_api(self, method: str, url: str, **more: Any) -> Any:
        adapter = self._get_adapter()
        if method == 'POST':
            # who repeats a POST that got lost makes a second port
            more.update(connect_retries=0, status_code_retries=0)
        try:
            with _mapped():
                answer = adapter.request(url, method, raise_exc=False, **more)
            if answer.status_code >= 400:
                raise _to_refusal(answer)
        except NeutronDenied:
            # the next call begins with a new token, which has the roles that
            # were given since, and with what clouds.yaml says by then
            self.close()
            raise
        return answer

    def _get_adapter(self) -> Any:
        return self._adapter or self._connecting.share('', self._open_adapter)

    def _open_adapter(self) -> Any:
        with _mapped():
            adapter = _make_adapter(self._conf)
        with self._lock:
            self._adapter = adapter
        return adapter


class _mapped:
    """Turns what openstacksdk and keystoneauth raise into our errors."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ks_exceptions.Unauthorized):
            raise NeutronDenied(
                'Keystone refuses the credentials of [neutron]: check user, '
                'password, project and domains',
                'Unauthorized',
                401,
            ) from error
        if isinstance(
            error,
            ks_exceptions.CatalogException
            | ks_exceptions.MissingRequiredOptions
            | ks_exceptions.MissingAuthPlugin
            | ks_exceptions.NoMatchingPlugin
            | sdk_exceptions.ConfigException
            | sdk_exceptions.NotSupported,
        ):
            raise exceptions.ConfigurationError(
                [f'[neutron] leads to no Neutron: {error}']
            ) from error
        if isinstance(
            error, ks_exceptions.ClientException | sdk_exceptions.SDKException
        ):
            raise exceptions.ProviderUnavailable(
                f'no answer from Neutron or Keystone: {error}'
            ) from error


def _make_adapter(conf: Any) -> Any:
    """An adapter for Neutron that knows where it is and who we are."""
    network = {
        'network_endpoint_override': conf.endpoint_override,
        'interface': conf.interface,
        'connect_retries': conf.connect_retries or 0,
    }
    if conf.valid_interfaces:
        network['interface'] = conf.valid_interfaces
    network = {key: value for key, value in network.items() if value}
    if conf.cloud:
        cloud = openstack.connect(
            cloud=conf.cloud,
            region_name=conf.region_name,
            api_timeout=conf.timeout or TIMEOUT,
            **network,
        )
    else:
        cloud = connection.Connection(
            session=_make_session(conf),
            region_name=conf.region_name,
            **network,
        )
    adapter = cloud.network
    assert adapter.session  # what is not in the catalogue raises here
    return adapter


def _make_session(conf: Any) -> Any:
    """keystoneauth's session, from the options of ``[neutron]``."""
    kind = conf.auth_type or ('password' if conf.auth_url else '')
    if not kind:
        raise exceptions.ConfigurationError(
            ['[neutron] auth_type: not set; set it and its options, or cloud']
        )
    loader: Any = loading.get_plugin_loader(kind)
    given = {
        option.dest: getattr(conf, option.dest, None)
        for option in loader.get_options()
    }
    certificate = conf.certfile
    if certificate and conf.keyfile:
        certificate = (certificate, conf.keyfile)
    return session.Session(
        auth=loader.load_from_options(
            **{key: value for key, value in given.items() if value is not None}
        ),
        verify=False if conf.insecure else conf.cafile or True,
        cert=certificate,
        timeout=conf.timeout or TIMEOUT,
    )


def _to_refusal(answer: Any) -> exceptions.KuryrSriovError:
    """The error that an answer of 400 and above means."""
    status = answer.status_code
    try:
        found = answer.json()['NeutronError']
        kind, text = found['type'], found['message']
    except (ValueError, KeyError, TypeError):
        kind, text = '', answer.reason or 'no reason given'
    message = f'Neutron: {text} ({kind or "HTTP"} {status})'
    if kind in _EXHAUSTED:
        return exceptions.ProviderExhausted(message, retry_after=15.0)
    if status == 429 or status >= 500 or kind == 'RetryRequest':
        return exceptions.ProviderUnavailable(message, _retry_after(answer))
    if status == 412:
        return exceptions.ProviderUnavailable(message)
    if status in (401, 403):
        return NeutronDenied(f'{message}; {_ROLES}', kind, status)
    return NeutronRefused(message, kind, status)


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


def _retry_after(answer: Any) -> float:
    try:
        return max(1.0, float(answer.headers['Retry-After']))
    except (KeyError, ValueError):
        return 5.0


def _server_date(answer: Any) -> datetime:
    try:
        date = parsedate_to_datetime(answer.headers['Date'])
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)
