"""What other libraries ask of a volume: names here, and who answers.

Core knows neither dask nor HTML. It names what a `projectome.core.volume.Volume` can be turned
into; the package registers for each name the address of the function that does it, which is
imported when it is first called.
"""

from __future__ import annotations

import importlib
from typing import Any

from projectome.errors import UnknownNameError

ADDRESSES: dict[str, str] = {}
"""For each name ``module:function``."""


def register(**addresses: str) -> None:
    """Say who turns volumes into what.

    Parameters
    ----------
    **addresses
        ``module:function`` for each name; the function takes the volume first.
    """
    ADDRESSES.update(addresses)


def adapted(name: str, *arguments: object) -> Any:
    """Return what the function registered under a name makes of a volume.

    Raises
    ------
    UnknownNameError
        If nobody has registered.
    """
    if name not in ADDRESSES:
        raise UnknownNameError("adapter", name, ADDRESSES)
    module, _, function = ADDRESSES[name].partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)
