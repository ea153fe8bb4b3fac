# SPDX-License-Identifier: Apache-2.0
"""How Neutron is reached: the only user of openstacksdk and keystoneauth.

openstacksdk brings credentials, the service catalogue and
re-authentication; its resource classes are not used, because they send
again what a failed update left in them, and hide Neutron's error types.
"""

from __future__ import annotations

from typing import Any

import openstack
from keystoneauth1 import exceptions as ks_exceptions
from keystoneauth1 import loading, session
from openstack import connection
from openstack import exceptions as sdk_exceptions

from kuryr_sriov import exceptions
from kuryr_sriov.clients.neutron_refusals import NeutronDenied

AUTH_TYPES = ('password', 'v3applicationcredential', 'v3token', 'none')
"""Plugins whose options are known; others go through clouds.yaml."""

TIMEOUT = 60.0
"""Seconds for one answer, unless ``[neutron] timeout`` says otherwise."""


def list_options() -> list[Any]:
    """oslo.config options of ``[neutron]``: those of keystoneauth."""
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


class map_errors:
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


def make_adapter(conf: Any) -> Any:
    """An adapter for Neutron that knows where it is and who we are."""
    network = {
        'network_endpoint_override': conf.endpoint_override,
        'interface': conf.interface,
        # The controller tries again by itself, with a pause that grows.
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
            session=make_session(conf),
            region_name=conf.region_name,
            **network,
        )
    adapter = cloud.network
    assert adapter.session  # what is not in the catalogue raises here
    return adapter


def make_session(conf: Any) -> Any:
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
