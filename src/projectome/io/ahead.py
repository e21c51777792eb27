"""Reading in order while the next pieces are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from projectome.core.box import Box
from projectome.core.volume import Array, Volume
from projectome.errors import ParameterError


def read_ahead(
    volume: Volume, boxes: Iterable[Box], *, channel: str | int | None = None, depth: int = 1
) -> Iterator[tuple[Box, Array]]:
    """Read boxes in order, and the next ones while the caller works on the one at hand.

    A link is idle while voxels are decoded and worked on, and the cores are idle while the link is
    waited for; reading ahead keeps both busy.

    Parameters
    ----------
    volume
        What to read.
    boxes
        Which voxels, in order; taken one by one, so it may be without end.
    channel
        One channel by name or number; all by default.
    depth
        Boxes that are read beyond the one at hand; memory holds one more, and the one at hand.

    Yields
    ------
    box, voxels
        As `projectome.core.volume.Volume.read` returns them. What goes wrong with a box is raised
        at its turn.

    Raises
    ------
    ParameterError
        If `depth` is less than 1.
    """
    if depth < 1:
        raise ParameterError(f"Reading ahead needs a depth of 1 or more, not {depth}.")
    waiting = iter(boxes)
    ahead: deque[tuple[Box, Future[Array]]] = deque()
    with ThreadPoolExecutor(depth + 1) as pool:

        def ask(count: int) -> None:
            for box in islice(waiting, count):
                ahead.append((box, pool.submit(volume.read, box, channel=channel)))

        ask(depth + 1)
        try:
            while ahead:
                box, future = ahead.popleft()
                voxels = future.result()
                del future  # or it would keep the voxels while the next are read
                yield box, voxels
                del voxels
                ask(1)
        finally:
            for _, future in ahead:
                future.cancel()
