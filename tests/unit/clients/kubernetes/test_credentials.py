# SPDX-License-Identifier: Apache-2.0
"""What a kubeconfig file says reaches the connection, all of it."""

import base64
import sys
from pathlib import Path

import pytest
import yaml

from kuryr_sriov import exceptions
from kuryr_sriov.clients.kubernetes.credentials import (
    Credentials,
    find_credentials,
    read_kubeconfig,
)


def write_kubeconfig(path, cluster, user):
    cluster = {'server': 'https://api:6443/', **cluster}
    content = {
        'clusters': [{'name': 'c', 'cluster': cluster}],
        'users': [{'name': 'u', 'user': user}],
        'contexts': [{'name': 'x', 'context': {'cluster': 'c', 'user': 'u'}}],
        'current-context': 'x',
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'config'


def test_a_token_alone(path):
    found = read_kubeconfig(write_kubeconfig(path, {}, {'token': 'secret'}))
    assert found.headers() == {'authorization': 'Bearer secret'}
    assert found == Credentials('https://api:6443', found.headers)


def test_certificates_and_names(path):
    def encode(text):
        return base64.b64encode(text.encode()).decode()

    cluster = {
        'certificate-authority-data': encode('authority'),
        'tls-server-name': 'kubernetes',
        'proxy-url': 'http://proxy:3128',
    }
    user = {
        'client-certificate-data': encode('certificate'),
        'client-key-data': encode('key'),
    }
    found = read_kubeconfig(write_kubeconfig(path, cluster, user))
    files = found.ca_file, found.cert_file, found.key_file
    texts = [Path(file).read_text() for file in files]
    assert texts == ['authority', 'certificate', 'key']
    assert found == Credentials(
        'https://api:6443',
        found.headers,
        *files,
        server_name='kubernetes',
        proxy='http://proxy:3128',
    )


def test_a_server_that_is_not_to_be_verified(path):
    cluster = {'insecure-skip-tls-verify': True}
    found = read_kubeconfig(write_kubeconfig(path, cluster, {}))
    assert found == Credentials(
        'https://api:6443', found.headers, verify=False
    )


def test_no_proxy_names_the_host_of_the_server(path, monkeypatch):
    monkeypatch.setenv('no_proxy', 'api:6443')
    cluster = {'proxy-url': 'http://proxy:3128'}
    assert read_kubeconfig(write_kubeconfig(path, cluster, {})).proxy == ''


def test_without_the_package_that_reads_it_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'kubernetes.config', None)
    with pytest.raises(
        exceptions.ConfigurationError,
        match='the kubernetes package reads kubeconfig files; run in a pod',
    ):
        read_kubeconfig(None)


def test_a_kubeconfig_comes_before_the_pod_that_this_runs_in(
    path, monkeypatch
):
    monkeypatch.setenv('KUBERNETES_SERVICE_HOST', '10.96.0.1')
    found = find_credentials('', write_kubeconfig(path, {}, {}))
    assert found.host == 'https://api:6443'
    assert find_credentials('http://proxy/', str(path)) == Credentials(
        'http://proxy'
    )
