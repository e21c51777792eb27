"""A store that misbehaves on purpose: a small HTTP and S3 server whose answers can be spoilt."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
"""Most names in a page of a listing."""


@dataclass
class Question:
    """One request.

    Attributes
    ----------
    method
        ``GET`` or ``HEAD``.
    path
        Unescaped, without the query.
    query
        First value of each parameter.
    headers
        With names in lower case.
    number
        How many requests for the same path came before.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    number: int

    @property
    def lists(self) -> bool:
        """Whether it asks for a listing."""
        return "list-type" in self.query


@dataclass
class Answer:
    """What is sent back; a fault changes it.

    Attributes
    ----------
    status
        HTTP status.
    headers
        ``Content-Length`` and all others, sent as they are.
    body
        What comes after the headers, also where they say something else.
    delay
        Time before the first byte [s].
    pace
        Time between two bytes of the body [s].
    endless
        Send the body again and again.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    pace: float = 0.0
    endless: bool = False


Fault = Callable[[Question, Answer], Answer | None]
"""Changes an answer, or returns another."""


@dataclass
class FaultyStore:
    """A folder served over HTTP, with its first level as buckets over S3.

    Attributes
    ----------
    endpoint
        Address.
    folder
        What is served.
    faults
        Asked in turn to spoil each answer.
    asked
        Every request.
    """

    endpoint: str
    folder: Path
    faults: list[Fault] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def spoilt(self, *faults: Fault) -> Iterator[FaultyStore]:
        """Spoil answers inside the block."""
        self.faults[:], before = faults, self.faults[:]
        self.asked.clear()
        try:
            yield self
        finally:
            self.faults[:] = before

    def answer(self, question: Question) -> Answer:
        """Return what a sound store would say."""
        path = Path(self.folder, question.path.strip("/"))
        if question.lists:
            return document(listing(path, self.folder, question.query))
        if not path.is_file():
            return refusal(404, "NoSuchKey")
        data = path.read_bytes()
        headers = {
            "Accept-Ranges": "bytes",
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"',
        }
        asked = question.headers.get("range")
        if not asked:
            return Answer(200, {**headers, "Content-Length": str(len(data))}, data)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(len(data), int(last) + 1) if first and last else len(data)
        if start >= stop:
            return refusal(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        part = data[start:stop]
        return Answer(206, {**headers, "Content-Length": str(len(part))}, part)


def document(text: str, status: int = 200) -> Answer:
    """Return an answer in XML."""
    body = text.encode()
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
    return Answer(status, headers, body)


def refusal(status: int, code: str) -> Answer:
    """Return an error as S3 words it."""
    return document(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>", status)


def listing(bucket: Path, root: Path, query: dict[str, str]) -> str:
    """Return one page of what lies below a prefix, as S3 lists it."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    keys = sorted(p.relative_to(bucket).as_posix() for p in bucket.rglob("*") if p.is_file())
    names: dict[str, int | None] = {}
    for key in (k for k in keys if k.startswith(prefix)):
        head, slash, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if delimiter:
            names[prefix + head + slash] = None if slash else (bucket / key).stat().st_size
        else:
            names[key] = (bucket / key).stat().st_size
    after = query.get("continuation-token") or query.get("start-after", "")
    found = [name for name in names if name > after]
    cut = found[:PAGE]
    return listed({name: names[name] for name in cut}, cut[-1] if len(found) > PAGE else "")


def listed(names: dict[str, int | None], token: str = "") -> str:
    """Return a page of a listing: sizes of files, None for folders, and where the next begins."""
    when = '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"0"</ETag>'
    parts = ["<ListBucketResult>", f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>"]
    if token:
        parts.append(f"<NextContinuationToken>{escape(token)}</NextContinuationToken>")
    for name, size in names.items():
        if size is None:
            parts.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
        else:
            key = f"<Key>{escape(name)}</Key><Size>{size}</Size>{when}"
            parts.append(f"<Contents>{key}<StorageClass>STANDARD</StorageClass></Contents>")
    return "".join([*parts, f"<KeyCount>{len(names)}</KeyCount>", "</ListBucketResult>"])


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False
    store: FaultyStore

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        store = self.server.store
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        before = sum(q.path == path for q in store.asked)
        headers = {name.lower(): value for name, value in self.headers.items()}
        question = Question(self.command, path, query, headers, before)
        store.asked.append(question)
        answer = store.answer(question)
        for fault in store.faults:
            answer = fault(question, answer) or answer
        self._send(answer, store.closing)

    do_HEAD = do_GET

    def _send(self, answer: Answer, closing: threading.Event) -> None:
        closing.wait(answer.delay)
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self._send_body(answer, closing)
        if str(len(answer.body)) != answer.headers.get("Content-Length") or answer.endless:
            self.close_connection = True

    def _send_body(self, answer: Answer, closing: threading.Event) -> None:
        if self.command == "HEAD":
            return
        while not closing.is_set():
            step = 1 if answer.pace else max(1, len(answer.body))
            for start in range(0, len(answer.body), step):
                self.wfile.write(answer.body[start : start + step])
                if answer.pace and closing.wait(answer.pace):
                    return
            if not answer.endless:
                return


@contextlib.contextmanager
def faulty_store(folder: Path) -> Iterator[FaultyStore]:
    """Serve a folder on this machine.

    Parameters
    ----------
    folder
        Its folders are buckets: ``s3://bucket/key`` with the endpoint, or ``ENDPOINT/bucket/key``.

    Yields
    ------
    FaultyStore
        Sound until faults are added.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    store = FaultyStore(f"http://127.0.0.1:{server.server_port}", folder)
    server.store = store
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
