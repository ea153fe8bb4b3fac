# SPDX-License-Identifier: Apache-2.0
"""Where the documentation is, and its code blocks."""

import re
import textwrap
from pathlib import Path

import pytest

from kuryr_sriov.config import catalogue
from kuryr_sriov_daemon import options as daemon_options

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / 'doc' / 'source'
BLOCK = re.compile(
    r'^( *)\.\. code-block:: (\w+)\n((?:\1 +:.*\n)*)\n'
    r'((?:\1 {3}.*\n|\s*\n)+)',
    re.MULTILINE,
)


@pytest.fixture
def repository():
    return REPOSITORY


@pytest.fixture
def source():
    return SOURCE


@pytest.fixture
def pages():
    """Text of each page by name."""
    return {page.stem: page.read_text() for page in SOURCE.glob('*.rst')}


@pytest.fixture
def blocks(pages):
    """Language and code of each code block written into a page."""
    return [
        (language, textwrap.dedent(code).strip())
        for text in pages.values()
        for _indent, language, _options, code in BLOCK.findall(text)
    ]


@pytest.fixture
def snippets():
    return SOURCE / 'snippets'


@pytest.fixture
def options():
    """Section and name of every option."""
    return {
        (section, option.dest)
        for list_opts in (catalogue.list_opts, daemon_options.list_opts)
        for section, options in list_opts()
        for option in options
    }
