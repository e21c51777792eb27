"""An object store on this machine that answers after a fixed time and costs the cores little.

Benchmarks of slow links share their cores with the server. This one, one thread of asyncio that
knows no more of S3 than GET and HEAD of an object, with ranges, takes about a fifth of the
processor time of a complete one, so that what is measured is the client.

    python bench/slow_store.py FOLDER --port 9000 --latency-ms 50
"""

from __future__ import annotations

import argparse
import asyncio
import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

RANGE = re.compile(rb"^range: *bytes=(\d*)-(\d*)", re.IGNORECASE | re.MULTILINE)
MISSING = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>none</Message></Error>"


class Connection(asyncio.Protocol):
    """One client: its requests are answered in order, each after `latency` seconds."""

    def __init__(self, root: Path, latency: float) -> None:
        self.root, self.latency, self.waiting = root, latency, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self.waiting = (self.waiting + data).split(b"\r\n\r\n")
        for request in requests:
            loop = asyncio.get_running_loop()
            loop.call_later(self.latency, self.answer, request)

    def answer(self, request: bytes) -> None:
        if self.transport.is_closing():
            return
        method, target, _ = request.split(b"\r\n", 1)[0].split(b" ", 2)
        path = (self.root / unquote(target.split(b"?")[0].decode()).lstrip("/")).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(MISSING)}\r\n\r\n".encode()
            self.transport.write(head + (MISSING if method == b"GET" else b""))
            return
        whole = path.stat()
        start, stop, state = 0, whole.st_size, "200 OK"
        if found := RANGE.search(request):
            first, last = found.groups()
            start = int(first) if first else max(0, whole.st_size - int(last))
            stop = min(stop, int(last) + 1) if first and last else stop
            state = "206 Partial Content"
        lines = [
            f"HTTP/1.1 {state}",
            f"Content-Length: {stop - start}",
            "Content-Type: application/octet-stream",
            "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
            f'ETag: "{whole.st_mtime_ns:x}-{whole.st_size:x}"',
        ]
        if state.startswith("206"):
            lines.append(f"Content-Range: bytes {start}-{stop - 1}/{whole.st_size}")
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if method == b"GET":
            with path.open("rb", buffering=0) as file:
                file.seek(start)
                self.transport.write(file.read(stop - start))


async def serve(root: Path, port: int, latency: float) -> None:
    """Serve the folders below `root` as buckets, until the process ends."""
    loop = asyncio.get_running_loop()
    opened = partial(Connection, root.resolve(), latency)
    server = await loop.create_server(opened, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, default=50)
    options = parser.parse_args()
    asyncio.run(serve(options.folder, options.port, options.latency_ms / 1000))
