"""Phantoms that several tests look at; both are the smallest preset."""

import pytest

from projectome.datasets.phantom import Phantom, make_phantom


@pytest.fixture(scope="session")
def tiny() -> Phantom:
    return make_phantom(size="tiny", seed=3)


@pytest.fixture(scope="session")
def small() -> Phantom:
    """Large enough for every projection class (8 neurons)."""
    return make_phantom(size="small", seed=1, neurons=8)


@pytest.fixture(scope="session")
def tiny_image(tiny):
    return tiny.image.read()
