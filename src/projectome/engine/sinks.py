"""Where the results of blocks go: always to storage, never to the driver.

A sink writes a block whole or not at all, and writing it again changes nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from projectome.core.box import Block, BlockGrid, Box, Triple
from projectome.core.region_graph import RegionGraph
from projectome.errors import FormatError, NotFoundError, ParameterError, ShapeError
from projectome.io import stores
from projectome.io.documents import json_value

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KEY_NAME = "[0-9a-f]{16}"
"""Folders of rows are named so; nothing else in a folder of tables is touched."""

Columns: TypeAlias = "pd.DataFrame | Mapping[str, Any]"


@runtime_checkable
class Sink(Protocol):
    """Anything that keeps the results of blocks."""

    def begin(self, key: str, grid: BlockGrid) -> Sink:
        """Return this sink, made ready in the driver for a run with that key."""

    def holds(self, key: str) -> bool:
        """Say whether what an earlier run with that key wrote can still be there."""

    def write(self, block: Block, result: Any) -> None:
        """Keep the result of a block; called in the workers, and idempotent."""

    def end(self) -> None:
        """Remove what lost workers left half-written; called in the driver after the last block."""


@dataclass(frozen=True, slots=True)
class NullSink:
    """Keep nothing: for steps that are called for what they do."""

    def begin(self, key: str, grid: BlockGrid) -> NullSink:
        """Return this sink."""
        return self

    def holds(self, key: str) -> bool:
        """Say that nothing is missing."""
        return True

    def write(self, block: Block, result: Any) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class BoxWriter(Protocol):
    """What an `ArraySink` needs of a `projectome.io.volumes.writer.VolumeWriter`."""

    @property
    def finest(self) -> str:
        """Address of the folder that its voxels go to."""

    @property
    def block_multiple(self) -> Triple:
        """Voxels that have to be written together: a shard, or a chunk."""

    def write(self, box: Box, array: Any) -> None:
        """Write the voxels of a box of whole chunks; atomic a chunk, and idempotent."""


@dataclass(frozen=True, slots=True)
class ArraySink:
    """Keep the voxels of each block's core in a volume.

    Attributes
    ----------
    writer
        Of the volume. Its `finish` is the caller's business, once the run is through.
    """

    writer: BoxWriter

    def begin(self, key: str, grid: BlockGrid) -> ArraySink:
        """Return this sink.

        Raises
        ------
        ParameterError
            If the blocks are not whole chunks of the volume.
        """
        chunk, start = self.writer.block_multiple, grid.domain.start
        cuts = zip(chunk, start, grid.block_shape, grid.shape, strict=True)
        if any(first % c or (n > 1 and b % c) for c, first, b, n in cuts):
            raise ParameterError(
                f"Blocks of {grid.block_shape} voxels from {start} on cannot be written in chunks "
                f"of {chunk}. Plan the grid with chunks={chunk}."
            )
        return self

    def holds(self, key: str) -> bool:
        """Say whether voxels that an earlier run wrote can still be there."""
        access = getattr(self.writer, "access", None)
        try:
            return bool(stores.list_folder(self.writer.finest, access=access))
        except NotFoundError:
            return False

    def write(self, block: Block, result: Any) -> None:
        """Write the voxels of a block.

        Raises
        ------
        ShapeError
            If the result is not an array of the shape of the core, behind any channel axis.
        """
        array = np.asarray(result)
        if array.shape[-3:] != block.core.shape or array.ndim > 4:
            raise ShapeError(
                f"The result for {block} has the shape {array.shape}; it has to be that of the "
                f"core, {block.core.shape}. Cut the halo off with result[block.inner]."
            )
        self.writer.write(block.core, array)

    def end(self) -> None:
        """Do nothing: the writer cleans up when it finishes the volume."""


@dataclass(frozen=True, slots=True)
class TableSink:
    """Keep one table a block, each in a parquet file.

    Results are data frames, or mappings of column names to columns; all with the same columns.
    Files lie in a folder named after the key of the run, so that tables of different runs cannot
    mix::

        FOLDER/table.json              key and grid of the last run
        FOLDER/KEY/Z.Y.X.parquet       the rows of one block

    Attributes
    ----------
    folder
        Address of the folder.
    """

    folder: str
    _key: str = field(default="", compare=False, repr=False)
    _access: stores.Access | None = field(default=None, compare=False, repr=False)

    def begin(self, key: str, grid: BlockGrid) -> TableSink:
        """Return this sink for a run with that key, and remove what other runs left."""
        access = stores.Access.of()  # as the driver's settings say, also in the workers
        head = {"key": key[:16], "shape": list(grid.shape)}
        with contextlib.suppress(NotFoundError):
            for entry in stores.list_folder(self.folder, access=access):
                if re.fullmatch(KEY_NAME, entry.name) and entry.name != head["key"]:
                    stores.remove(stores.join(self.folder, entry.name), access=access)
        place, text = stores.join(self.folder, "table.json"), json.dumps(head).encode()
        stores.write_bytes(place, text, access=access)
        return replace(self, _key=key[:16], _access=access)

    def end(self) -> None:
        """Remove half-written files of lost workers, of this run and of earlier ones."""
        folder = stores.local_path(stores.join(self.folder, self._key))
        if folder is not None:
            for path in folder.glob(".*.partial"):
                path.unlink(missing_ok=True)

    def _head(self) -> tuple[str, Triple] | None:
        try:
            head = json_value(stores.read_bytes(stores.join(self.folder, "table.json")))
            z, y, x = head["shape"]
            return head["key"], (z, y, x)
        except NotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{self.folder}/table.json is broken: {error!r}. Remove the folder, and run the "
                "step that made it again."
            ) from None

    def holds(self, key: str) -> bool:
        """Say whether the tables of a run with that key can still be there."""
        head = self._head()
        return head is not None and head[0] == key[:16]

    def _file(self, key: str, index: Triple) -> str:
        return stores.join(self.folder, key, ".".join(map(str, index)) + ".parquet")

    def write(self, block: Block, result: Columns) -> None:
        """Write the rows of a block.

        Raises
        ------
        ParameterError
            If the result is no table.
        """
        import pyarrow.parquet

        buffer = io.BytesIO()
        pyarrow.parquet.write_table(_table(result, block), buffer)
        place = self._file(self._key, block.index)
        stores.write_bytes(place, buffer.getvalue(), access=self._access)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the table of each block, in the order of the grid.

        Raises
        ------
        NotFoundError
            If the table of a block is missing, or all of them.
        FormatError
            If two blocks have different columns, or a file is broken.
        """
        import pyarrow as pa
        import pyarrow.parquet

        head = self._head()
        if head is None:
            raise NotFoundError(f"No table in {self.folder}. Run the step that makes it.")
        key, shape = head
        names: list[str] | None = None
        for z, y, x in product(*map(range, shape)):
            index = (z, y, x)
            place = self._file(key, index)
            try:
                table = pyarrow.parquet.read_table(pa.BufferReader(stores.read_bytes(place)))
            except NotFoundError:
                raise NotFoundError(
                    f"The table of block {index} is missing from {self.folder}: its run is not "
                    "finished, or the file was removed. Run the step again, in the latter case "
                    "with --overwrite."
                ) from None
            except pa.ArrowException as error:
                raise FormatError(
                    f"{place} is no parquet file: {error}. Run the step again with --overwrite."
                ) from None
            names = table.column_names if names is None else names
            if table.column_names != names:
                raise FormatError(
                    f"Block {index} of {self.folder} has the columns {table.column_names}, others "
                    f"have {names}. A step has to return the same columns for every block."
                )
            yield table

    def read(self) -> pd.DataFrame:
        """Return all rows, in the order of the grid; see `tables` for what it raises."""
        import pyarrow as pa

        try:
            whole = pa.concat_tables(self.tables(), promote_options="default")
        except pa.ArrowException as error:
            raise FormatError(
                f"The blocks of {self.folder} have columns of different types: {error}. A step "
                "has to return the same types for every block."
            ) from None
        return whole.to_pandas()


def _table(result: Columns, block: Block) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    try:
        frame = result if isinstance(result, pd.DataFrame) else pd.DataFrame(dict(result))
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise ParameterError(
            f"The result for {block} is no table: {error}. Return a data frame, or a mapping of "
            "names to columns of one length."
        ) from None
    # Without the notes of pandas, which would tie the bytes to its version.
    return table.replace_schema_metadata(None)


@dataclass(frozen=True, slots=True)
class GraphSink:
    """Keep one `RegionGraph` a block.

    Attributes
    ----------
    folder
        Address of the folder; fragments and edges are two tables in it.
    """

    folder: str
    _tables: Sinks | None = field(default=None, compare=False, repr=False)

    def _sinks(self) -> Sinks:
        if self._tables is not None:
            return self._tables
        names = ("fragments", "edges")
        return Sinks({name: TableSink(stores.join(self.folder, name)) for name in names})

    def begin(self, key: str, grid: BlockGrid) -> GraphSink:
        """Return this sink for a run with that key, and remove what other runs left."""
        return replace(self, _tables=self._sinks().begin(key, grid))

    def holds(self, key: str) -> bool:
        """Say whether the graphs of a run with that key can still be there."""
        return self._sinks().holds(key)

    def write(self, block: Block, result: RegionGraph) -> None:
        """Write the graph of a block.

        Raises
        ------
        ParameterError
            If the result is no graph.
        """
        if not isinstance(result, RegionGraph):
            raise ParameterError(
                f"The result for {block} is a {type(result).__name__}, not a RegionGraph."
            )
        edges = {"a": result.edges[:, 0], "b": result.edges[:, 1], "score": result.score}
        tables = {"fragments": {"id": result.fragments}, "edges": edges | dict(result.columns)}
        self._sinks().write(block, tables)

    def end(self) -> None:
        """Remove half-written files of lost workers."""
        self._sinks().end()

    def read(self) -> RegionGraph:
        """Return one graph of all fragments and edges.

        Returns
        -------
        RegionGraph
            Each fragment once. The edges of all blocks, in the order of the grid; two blocks that
            saw the same two fragments touch leave two edges. An edge may name a fragment that
            only another block lists.

        Raises
        ------
        NotFoundError, FormatError
            See `TableSink.tables`.
        ShapeError
            If an edge names a fragment that no block lists.
        """
        sinks = self._sinks()
        edges = sinks["edges"].read()
        fragments = np.unique(sinks["fragments"].read()["id"].to_numpy(np.uint64))
        return RegionGraph(
            fragments,
            edges[["a", "b"]].to_numpy(np.uint64),
            edges["score"].to_numpy(np.float32),
            {name: edges[name].to_numpy() for name in edges.columns[3:]},
        )


@dataclass(frozen=True, slots=True)
class Sinks:
    """Keep several results a block, each in a sink of its own.

    Attributes
    ----------
    sinks
        By the names that the step gives to its results.
    """

    sinks: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.sinks[name]

    def begin(self, key: str, grid: BlockGrid) -> Sinks:
        """Return these sinks for a run with that key."""
        return Sinks({name: sink.begin(key, grid) for name, sink in self.sinks.items()})

    def holds(self, key: str) -> bool:
        """Say whether all that an earlier run with that key wrote can still be there."""
        return all(sink.holds(key) for sink in self.sinks.values())

    def write(self, block: Block, result: Mapping[str, Any]) -> None:
        """Write the results of a block.

        Raises
        ------
        ParameterError
            If the names are not those of the sinks.
        """
        if not isinstance(result, Mapping) or result.keys() != self.sinks.keys():
            what = sorted(result) if isinstance(result, Mapping) else type(result).__name__
            raise ParameterError(
                f"The result for {block} has to be a mapping with the names "
                f"{sorted(self.sinks)}, one a sink; it is {what}."
            )
        for name, sink in self.sinks.items():
            sink.write(block, result[name])

    def end(self) -> None:
        """Remove what lost workers left half-written."""
        for sink in self.sinks.values():
            sink.end()
