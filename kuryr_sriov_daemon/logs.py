# SPDX-License-Identifier: Apache-2.0
"""The daemons' logs, as text or as one JSON object in each line."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import IO

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {'message', 'asctime'}
"""What every record has; all else came by ``extra``."""


class TextFormatter(logging.Formatter):
    """A line to read, with the fields of ``extra`` at its end."""

    def __init__(self) -> None:
        super().__init__('%(asctime)s %(levelname)s %(name)s: %(message)s')

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        fields = ' '.join(f'{k}={v}' for k, v in extra_of(record).items())
        line = super().formatMessage(record)
        return f'{line} [{fields}]' if fields else line


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, and ``extra``."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        second = self.formatTime(record, '%Y-%m-%dT%H:%M:%S')
        line = {
            'time': f'{second}.{int(record.msecs):03d}Z',
            'level': record.levelname,
            'logger': record.name,
            'message': record.getMessage(),
            **extra_of(record),
        }
        if record.exc_info:
            line['exception'] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def extra_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields that the caller gave by ``extra``."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _OWN and value not in ('', None)
    }


def set_up_logging(
    form: str, level: str, stream: IO[str] | None = None
) -> None:
    """Log to ``stream``, by default standard error.

    :param form: ``text`` or ``json``.
    :param level: such as ``INFO``.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter() if form == 'json' else TextFormatter()
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger('urllib3').setLevel(logging.ERROR)
