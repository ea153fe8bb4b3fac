# SPDX-License-Identifier: Apache-2.0
"""Each candidate for the lease has a name of its own."""

import socket

from kuryr_sriov_daemon.controller.startup import make_identity


def test_it_is_named_after_its_pod(monkeypatch):
    monkeypatch.setenv('POD_NAME', 'controller-7c5d')
    assert make_identity().startswith('controller-7c5d_')


def test_outside_of_a_pod_it_is_named_after_its_host(monkeypatch):
    monkeypatch.delenv('POD_NAME', raising=False)
    assert make_identity().startswith(f'{socket.gethostname()}_')


def test_a_restart_is_another_candidate(monkeypatch):
    """What the one before it holds is not its own."""
    monkeypatch.setenv('POD_NAME', 'controller-7c5d')
    assert make_identity() != make_identity()
