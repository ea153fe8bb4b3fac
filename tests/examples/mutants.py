# SPDX-License-Identifier: Apache-2.0
"""Drivers that are broken on purpose, each with the test that sees it."""


def caught_by(test):
    """Says by which test of the suite a broken driver has to be caught."""

    def mark(driver):
        driver.caught_by = test
        return driver

    return mark


def of(names):
    """The broken drivers among a module's names, in order."""
    return [
        thing
        for thing in names.values()
        if isinstance(thing, type) and 'caught_by' in vars(thing)
    ]


def suites(names, suite, attribute='driver_class'):
    """A test class for each of them, by its name."""
    return {
        f'Test{driver.__name__}': type(
            f'Test{driver.__name__}',
            (suite,),
            {attribute: driver},
        )
        for driver in of(names)
    }
