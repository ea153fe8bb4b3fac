# SPDX-License-Identifier: Apache-2.0
"""YAML files that an operator writes; the one importer of PyYAML."""

from __future__ import annotations

import os
from typing import Any

import yaml

from kuryr_sriov.exceptions import ConfigurationError


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """What a file has: lists, dicts, numbers and text, no other types.

    :raises ConfigurationError: it is not YAML.
    :raises OSError: it cannot be read.
    """
    with open(path, encoding='utf-8') as file:
        try:
            return yaml.safe_load(file)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            problem = f'{path}: no YAML: {error}; correct the file'
            raise ConfigurationError([problem]) from error
