# SPDX-License-Identifier: Apache-2.0
"""What the pages name is there, and what is there is named."""

import importlib
import inspect
import pathlib
import re
import xml.etree.ElementTree as ElementTree

import pytest

import kuryr_sriov
from kuryr_sriov import controller, exceptions, model, node
from kuryr_sriov.cmd import main

SOURCE = pathlib.Path(__file__).parents[2] / 'doc' / 'source'


def errors():
    """The error classes, but for those that say whether to retry."""
    return {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value)
        and issubclass(value, exceptions.KuryrSriovError)
    } - {'KuryrSriovError', 'PermanentError', 'TransientError'}


def test_code_is_included_from_files_that_are_run(blocks):
    """Only what a shell is told, and its like, is written into a page."""
    assert {language for language, _code in blocks} <= {'console', 'text'}


def test_included_files_are_there(pages, source):
    included = {
        file
        for text in pages.values()
        for file in re.findall(r'(?:include|figure):: (\S+)', text)
    }
    assert len(included) > 10
    for file in included:
        assert (source / file).is_file(), file


def test_commands_are_there(blocks, repository):
    console = '\n'.join(code for _language, code in blocks)
    targets = set(re.findall(r'^\$ make (\S+)', console, re.MULTILINE))
    makefile = (repository / 'Makefile').read_text()
    assert {'demo', 'test'} <= targets
    for target in targets:
        assert f'\n{target}:' in makefile
    for file in re.findall(r'-f (\S+)', console):
        assert (repository / file).is_file()


def test_subcommands_are_told(pages):
    for command in main.COMMANDS:
        assert f'kuryr-sriov {command}' in ''.join(pages.values())


@pytest.mark.parametrize('error', sorted(errors()))
def test_each_error_is_explained(pages, error):
    assert f'\n``{error}``\n    ' in pages['operations']


def test_no_error_is_explained_that_is_none(pages):
    explained = re.findall(
        r'^``([A-Z]\w+)``$', pages['operations'], re.MULTILINE
    )
    assert set(explained) == errors()


def test_methods_that_are_named_are_there(pages):
    homes = {
        'Controller': controller.Controller,
        'Node': node.Node,
        'exceptions': exceptions,
        'model': model,
    }
    text = ''.join(pages.values())
    named = re.findall(r'``(Controller|Node)\.(\w+)``', text)
    assert named
    for home, name in named:
        assert hasattr(homes[home], name)


@pytest.mark.parametrize('name', kuryr_sriov.__all__)
def test_public_names_are_in_the_api(pages, name):
    thing = getattr(kuryr_sriov, name)
    modules = re.findall(r'automodule:: (\S+)', pages['api'])
    homes = [
        module
        for module in modules
        if getattr(importlib.import_module(module), name, None) is thing
    ]
    home = getattr(thing, '__module__', '')
    assert homes or f':: {home}.{name}\n' in pages['api']


def test_options_that_are_named_are_there(pages, options):
    named = {
        (section, option)
        for text in pages.values()
        for section, option in re.findall(r'``\[(\w+)\]\s(\w+)``', text)
    }
    assert len(named) > 5
    assert named <= options


def pictures():
    return sorted((SOURCE / 'images').glob('*.svg'))


@pytest.mark.parametrize('picture', pictures(), ids=lambda path: path.name)
def test_picture_needs_nothing_from_elsewhere(picture):
    root = ElementTree.parse(picture).getroot()
    assert not [
        value
        for element in root.iter()
        for name, value in element.attrib.items()
        if name.endswith('href') or '//' in value
    ]


@pytest.mark.parametrize('picture', pictures(), ids=lambda path: path.name)
def test_a_picture_is_shown_and_told_in_words(pages, picture):
    text = ''.join(pages.values())
    shown = re.findall(rf'figure:: images/{picture.name}\n((?: .*\n)+)', text)
    assert len(shown) == 1
    assert ':alt:' in shown[0]
