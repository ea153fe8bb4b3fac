# SPDX-License-Identifier: Apache-2.0
"""Lines of text and of JSON, with the fields of an operation."""

import io
import json
import logging
import pathlib

import pytest

from kuryr_sriov_daemon.logs import set_up_logging


@pytest.fixture
def lines():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def read(form):
        set_up_logging(form, 'info', stream)
        log = logging.getLogger('kuryr_sriov.test')
        log.info('attached', extra={'pod': 'ns/web', 'pci': ''})
        log.debug('not this')
        log.info('read', extra={'file': pathlib.Path('/etc/kuryr')})
        try:
            raise KeyError('why')
        except KeyError:
            log.exception('failed')
        return stream.getvalue().splitlines()

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text(lines):
    first, read, second, *trace = lines('text')
    assert read.endswith('read [file=/etc/kuryr]')
    assert first.endswith('INFO kuryr_sriov.test: attached [pod=ns/web]')
    assert second.endswith('ERROR kuryr_sriov.test: failed')
    assert trace[-1] == "KeyError: 'why'"


def test_json(lines):
    first, read, second = map(json.loads, lines('json'))
    assert read['file'] == '/etc/kuryr'
    assert first['message'] == 'attached'
    assert first['level'] == 'INFO'
    assert first['pod'] == 'ns/web'
    assert 'pci' not in first
    assert first['time'].endswith('Z')
    assert "KeyError: 'why'" in second['exception']
