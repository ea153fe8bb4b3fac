# SPDX-License-Identifier: Apache-2.0
"""The parts of a request fit into it, and it into what the plugin waits."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kuryr_sriov import ConfigurationError, TransientError, load_config
from kuryr_sriov_daemon.node import deadlines
from kuryr_sriov_daemon.options import register_daemon_options

PLUGIN = Path(__file__).parents[4] / 'cni' / 'plugin.c'


def configured(attachment=60.0, **own):
    values = {'request_timeout': 100.0, 'vifs_timeout': 60.0}
    own = SimpleNamespace(**{**values, 'active_timeout': 0.0, **own})
    sriov = SimpleNamespace(attachment_timeout=attachment)
    return SimpleNamespace(sriov_node=own, sriov=sriov)


def test_the_defaults_fit():
    conf = register_daemon_options(load_config(files=[]))
    assert deadlines.read_limits(conf) == deadlines.Limits(100, 60, 0)


def test_the_plugin_waits_as_long_as_is_said_here():
    (found,) = re.findall('#define DEADLINE ([0-9]+)', PLUGIN.read_text())
    assert float(found) == deadlines.PLUGIN


@pytest.mark.parametrize(
    ('conf', 'names'),
    [
        (configured(request_timeout=110.0), ['request_timeout', '110 s']),
        (configured(vifs_timeout=100.0), ['vifs_timeout', 'active_timeout']),
        (configured(active_timeout=40.0), ['vifs_timeout', 'active_timeout']),
        (configured(101.0), ['[sriov] attachment_timeout', '101 s']),
    ],
)
def test_what_does_not_fit_is_told_by_name(conf, names):
    with pytest.raises(ConfigurationError) as raised:
        deadlines.read_limits(conf)
    (problem,) = raised.value.problems
    assert all(name in problem for name in names)


def test_all_that_does_not_fit_is_told():
    conf = configured(200.0, request_timeout=120.0, vifs_timeout=120.0)
    with pytest.raises(ConfigurationError) as raised:
        deadlines.read_limits(conf)
    assert len(raised.value.problems) == 3


def test_no_part_outlasts_the_whole():
    deadline = deadlines.Deadline(1000)
    end = time.monotonic() + 1000
    assert deadline.at_most(5000) <= end
    assert deadline.at_most(500) < end - 400
    assert 900 < deadline.left() <= 1000


def test_a_request_whose_time_is_over_goes_no_further():
    with pytest.raises(TransientError, match='request_timeout are over'):
        deadlines.Deadline(0).left()
