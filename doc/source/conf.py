# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built; see ``make docs``."""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / 'extensions'))

project = 'kuryr-sriov'
author = 'The kuryr-sriov authors'
copyright = author
release = importlib.metadata.version(project)
version = '.'.join(release.split('.')[:2])

extensions = [
    'options',
    'reno.sphinxext',
    'sphinx.ext.autodoc',
]

html_theme = 'furo'
html_title = project
# No page needs a host but the one it came from.
html_theme_options = {
    'light_css_variables': {'font-stack': 'system-ui, sans-serif'},
    'dark_css_variables': {'font-stack': 'system-ui, sans-serif'},
}
html_static_path = ['static']
html_css_files = ['pages.css']
html_copy_source = False
html_show_sourcelink = False

autodoc_class_signature = 'mixed'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints = 'signature'
python_maximum_signature_line_length = 79
python_use_unqualified_type_names = True
smartquotes_action = 'D'
