"""A short calibration of the engine, and broken engines that must not get through it.

``make calibrate`` runs the long one and writes docs/calibration.md.
"""

import pytest

from tests.calibration.mutants import MUTANTS
from tests.calibration.short import CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_the_engine_keeps_its_promises(name):
    CHECKS[name]()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_engine_is_noticed(mutant):
    broken, check = MUTANTS[mutant]
    with broken(), pytest.raises(AssertionError):
        CHECKS[check]()
