"""The plugin library of napari, which warns of its own use of pydantic when it is imported."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import npe2  # noqa: F401
