# SPDX-License-Identifier: Apache-2.0
"""Where the API server is, and how it knows us.

In a pod that is what the kubelet mounts for the service account, read here:
the ``kubernetes`` package, which reads kubeconfig files, would cost every
node 20 MiB for it.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuryr_sriov.exceptions import ConfigurationError

SERVICE_ACCOUNT = Path('/var/run/secrets/kubernetes.io/serviceaccount')

Headers = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection to the API server needs.

    :param host: base URL.
    :param headers: called for each request, since tokens expire.
    :param ca_file: certificates of authorities; empty for the system's.
    :param cert_file: our own certificate; empty for none.
    :param verify: whether the server's certificate is verified.
    :param server_name: what it has to name instead of the host.
    :param proxy: URL of a proxy; empty for none.
    """

    host: str
    headers: Headers = dict
    ca_file: str = ''
    cert_file: str = ''
    key_file: str = ''
    verify: bool = True
    server_name: str = ''
    proxy: str = ''


def find_credentials(api_root: str, kubeconfig: str) -> Credentials:
    """Credentials of ``api_root``, kubeconfig, the pod, or ``KUBECONFIG``.

    :param api_root: base URL where no credentials are needed.
    :raises ConfigurationError: there are none, or they cannot be read.
    """
    if api_root:
        return Credentials(api_root.rstrip('/'))
    # The kubelet sets it in every pod.
    if 'KUBERNETES_SERVICE_HOST' in os.environ and not kubeconfig:
        return read_service_account(SERVICE_ACCOUNT)
    return read_kubeconfig(kubeconfig or os.environ.get('KUBECONFIG'))


def read_service_account(folder: Path) -> Credentials:
    """Credentials of the pod that this runs in.

    The kubelet replaces the token before it expires, so that it is read
    for each request.
    """
    host = os.environ.get('KUBERNETES_SERVICE_HOST', '')
    port = os.environ.get('KUBERNETES_SERVICE_PORT', '443')
    token, authorities = folder / 'token', folder / 'ca.crt'

    def headers() -> Mapping[str, str]:
        try:
            return {'authorization': f'Bearer {token.read_text().strip()}'}
        except OSError as error:
            raise no_access(error) from error

    headers()
    if not authorities.is_file():
        raise no_access(f'there is no {authorities}')
    bracketed = f'[{host}]' if ':' in host else host
    return Credentials(
        f'https://{bracketed}:{port}', headers, str(authorities)
    )


def read_kubeconfig(path: str | None) -> Credentials:
    """Credentials of the current context of a kubeconfig file.

    :param path: None for ``~/.kube/config``.
    """
    try:
        import kubernetes.config
        from kubernetes.client.configuration import Configuration
    except ImportError as error:
        raise no_access(
            f'{error}; the kubernetes package reads kubeconfig files'
        ) from error

    config: Any = kubernetes.config  # has no types
    found: Any = Configuration()
    try:
        config.load_kube_config(path, client_configuration=found)
    except (config.ConfigException, OSError) as error:
        raise no_access(error) from error

    def headers() -> Mapping[str, str]:
        settings = found.auth_settings().values()  # renews what expired
        return {one['key']: one['value'] for one in settings}

    return Credentials(
        host=found.host.rstrip('/'),
        headers=headers,
        ca_file=found.ssl_ca_cert or '',
        cert_file=found.cert_file or '',
        key_file=found.key_file or '',
        verify=found.verify_ssl,
        server_name=found.tls_server_name or '',
        proxy=_proxy_for(found),
    )


def _proxy_for(found: Any) -> str:
    host = found.host.partition('://')[2].partition('/')[0]
    environ: Any = urllib.request  # a function that typeshed leaves out
    return '' if environ.proxy_bypass_environment(host) else found.proxy or ''


def no_access(why: object) -> ConfigurationError:
    """The error for credentials that cannot be used, and the remedy."""
    return ConfigurationError(
        [
            f'no access to the Kubernetes API: {why}; run in a pod with a '
            'service account, or set KUBECONFIG'
        ]
    )
