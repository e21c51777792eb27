"""Files, folders and object stores behind one kind of address.

An address is a path, ``file://PATH``, ``s3://BUCKET/KEY``, ``gs://BUCKET/KEY``, ``http(s)://HOST/KEY``
or, inside one process, ``memory://KEY``; it may go on inside a zip archive that stores its members
uncompressed (``brain.ozx/scale0``). Chunked arrays go through tensorstore with the one shared
`context`; documents, listings and copies of remote objects go through obstore. Every error of a
third party becomes one of projectome's here, and nothing waits without a deadline.
"""

from __future__ import annotations

from projectome.io.access import Access
from projectome.io.address import Address, join, parse
from projectome.io.clients import context, kvstore_spec, wait
from projectome.io.failures import mapped
from projectome.io.reading import (
    Entry,
    exists,
    list_beginning,
    list_folder,
    local_path,
    open_file,
    read_bytes,
    read_many,
    read_part,
)
from projectome.io.writing import atomic_write, copy, create_bytes, remove, write_bytes

__all__ = [
    "Access",
    "Address",
    "Entry",
    "atomic_write",
    "context",
    "copy",
    "create_bytes",
    "exists",
    "join",
    "kvstore_spec",
    "list_beginning",
    "list_folder",
    "local_path",
    "mapped",
    "open_file",
    "parse",
    "read_bytes",
    "read_many",
    "read_part",
    "remove",
    "wait",
    "write_bytes",
]
