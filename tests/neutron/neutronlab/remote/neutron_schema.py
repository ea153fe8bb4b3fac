# SPDX-License-Identifier: Apache-2.0
"""Neutron's tables at the newest revision, in SQLite.

The migrations alter constraints, which SQLite cannot. So the tables come
from the models, as in Neutron's own unit tests, with the only rows that a
migration inserts, and alembic is stamped so that Neutron sees no mismatch.
"""

import importlib.util
import os
import pathlib

import neutron
import sqlalchemy as sa
from neutron.db.migration.models import head

_MIGRATIONS = (
    pathlib.Path(neutron.__file__).parent / 'db/migration/alembic_migrations'
)
_DEFAULT_RULES = 'c33da356b165_security_group_default_rules.py'


def create(path: str | os.PathLike[str]) -> None:
    """Make the tables in the file, which must not exist yet."""
    engine = sa.create_engine(f'sqlite:///{path}')
    with engine.connect() as connection:
        # readers beside a writer; the mode is kept in the file
        connection.exec_driver_sql('PRAGMA journal_mode=WAL')
    metadata = head.get_metadata()
    metadata.create_all(engine)
    with engine.begin() as connection:
        _insert_default_rules(connection, metadata)
        _stamp(connection)
    engine.dispose()


def _insert_default_rules(connection, metadata) -> None:
    (path,) = _MIGRATIONS.glob(f'versions/*/expand/{_DEFAULT_RULES}')
    spec = importlib.util.spec_from_file_location('default_rules', path)
    rules = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rules)
    table = metadata.tables[rules.table_name]
    attributes = metadata.tables['standardattributes']
    for rule in rules.default_template_rules:
        row = dict(rule)
        result = connection.execute(
            attributes.insert().values(
                description=row.pop('description'), resource_type=table.name
            )
        )
        row['standard_attr_id'] = result.inserted_primary_key[0]
        connection.execute(table.insert().values(**row))


def _stamp(connection) -> None:
    connection.exec_driver_sql(
        'CREATE TABLE alembic_version '
        '(version_num VARCHAR(32) NOT NULL PRIMARY KEY)'
    )
    for branch in ('EXPAND_HEAD', 'CONTRACT_HEAD'):
        revision = (_MIGRATIONS / 'versions' / branch).read_text().strip()
        connection.exec_driver_sql(
            'INSERT INTO alembic_version VALUES (?)', (revision,)
        )
