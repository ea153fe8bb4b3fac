#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A primary CNI that makes nothing: its answer is in its configuration."""

import json
import os
import sys

config = json.load(sys.stdin)
match os.environ['CNI_COMMAND']:
    case 'ADD':
        json.dump(config['answer'], sys.stdout)
    case 'VERSION':
        versions = ['0.3.1', '0.4.0', '1.0.0', '1.1.0']
        json.dump(
            {'cniVersion': '1.1.0', 'supportedVersions': versions}, sys.stdout
        )
