# SPDX-License-Identifier: Apache-2.0
"""Probes and metrics over HTTP."""

import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Gauge

from kuryr_sriov import PermanentError
from kuryr_sriov_daemon.health import HealthServer


@pytest.fixture
def complaints():
    return {'live': '', 'ready': ''}


@pytest.fixture
def ask(complaints):
    registry = CollectorRegistry()
    Gauge('answer', 'To everything.', registry=registry).set(42)
    server = HealthServer(
        ('127.0.0.1', 0),
        registry,
        live=[lambda: complaints['live']],
        ready=[lambda: complaints['ready']],
    )
    server.start()

    def ask(path):
        url = f'http://127.0.0.1:{server.port}{path}'
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    yield ask
    server.stop()


def test_all_is_well(ask):
    assert ask('/healthz') == ask('/readyz') == (200, 'ok\n')


def test_who_is_not_ready_lives(ask, complaints):
    complaints['ready'] = 'reading pods'
    assert ask('/healthz') == (200, 'ok\n')
    assert ask('/readyz?verbose') == (503, 'reading pods\n')


def test_who_does_not_live_is_not_ready(ask, complaints):
    complaints['live'] = 'a thread hangs'
    assert ask('/healthz') == (503, 'a thread hangs\n')
    assert ask('/readyz')[0] == 503


def test_metrics(ask):
    status, text = ask('/metrics')
    assert status == 200
    assert 'answer 42.0' in text


def test_nothing_else_is_served(ask):
    assert ask('/')[0] == 404


def test_an_address_that_another_has_is_named():
    """Of two daemons on a node the second says why it does not start."""
    registry = CollectorRegistry()
    first = HealthServer(('127.0.0.1', 0), registry, live=(), ready=())
    first.start()
    try:
        with pytest.raises(
            PermanentError,
            match=f'listen on 127.0.0.1, port {first.port}, .*in',
        ):
            HealthServer(
                ('127.0.0.1', first.port), registry, live=(), ready=()
            )
    finally:
        first.stop()
