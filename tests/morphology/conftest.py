import numpy as np
import pytest

from projectome.core.skeleton import AXON, DENDRITE, SOMA, Skeleton
from projectome.core.space import Space


@pytest.fixture
def neuron() -> Skeleton:
    """A neuron in the plane z = 0, in micrometres (y, x).

    Soma at (0, 0). An axon runs 30 um along x and forks there into a twig of 3 um along y and a
    branch of 40 um along x. A dendrite of 10 um runs against x, bent: 6 um along y, then 8 um
    against x, so that it spans 10 um straight and 14 um along the cable.
    """
    yx = [(0, 0), (0, 30), (3, 30), (0, 50), (0, 70), (6, 0), (6, -8)]
    parent = [-1, 0, 1, 1, 3, 0, 5]
    kind = [SOMA, AXON, AXON, AXON, AXON, DENDRITE, DENDRITE]
    return Skeleton(
        np.array([(0, y, x) for y, x in yx], float),
        np.array(parent),
        Space("scan"),
        np.array([5, 1, 1, 1, 1, 2, 1], np.float32),
        np.array(kind),
    )
