# SPDX-License-Identifier: Apache-2.0
"""Tests of extensions may use how our own drivers adopt the suites."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / 'contract'))
