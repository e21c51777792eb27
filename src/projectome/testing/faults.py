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
    whole
        The file that the body is a part of.
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
    whole: bytes = b""


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
        return Answer(206, {**headers, "Content-Length": str(len(part))}, part, whole=data)


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
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _cut(question: Question, answer: Answer) -> None:
    answer.body = answer.body[: len(answer.body) // 2]


def _longer(question: Question, answer: Answer) -> None:
    answer.headers["Content-Length"] = str(len(answer.body) // 2)


def _slow(question: Question, answer: Answer) -> None:
    answer.pace = 0.2


def _stalled(question: Question, answer: Answer) -> None:
    answer.delay = 1e6


def _whole(question: Question, answer: Answer) -> Answer | None:
    if answer.status != 206:
        return None
    total = answer.headers.pop("Content-Range").rpartition("/")[2]
    del answer.headers["Accept-Ranges"]
    data = b"\0" * int(total) if question.method == "HEAD" else answer.whole
    return Answer(200, {**answer.headers, "Content-Length": total}, data)


def _elsewhere(question: Question, answer: Answer) -> None:
    if answer.status == 206:
        answer.headers["Content-Range"] = "bytes 5-9/12"


def _garbage(question: Question, answer: Answer) -> None:
    answer.body = b"\xde\xad\xbe\xef\0"[: len(answer.body)] * (len(answer.body) // 5 + 1)
    answer.body = answer.body[: int(answer.headers["Content-Length"])]


def _packed(question: Question, answer: Answer) -> None:
    answer.headers["Content-Encoding"] = "gzip"


def _page(question: Question, answer: Answer) -> Answer:
    return Answer(200, {"Content-Type": "text/html", "Content-Length": "13"}, b"<html></html>")


def _unmeasured(question: Question, answer: Answer) -> None:
    answer.headers.pop("Content-Length")


def _immeasurable(question: Question, answer: Answer) -> None:
    answer.headers["Content-Length"] = "-5"


def _looping(question: Question, answer: Answer) -> Answer:
    return Answer(302, {"Location": question.path, "Content-Length": "0"})


def _to_a_file(question: Question, answer: Answer) -> Answer:
    return Answer(302, {"Location": "file:///etc/passwd", "Content-Length": "0"})


def _to_another_host(question: Question, answer: Answer) -> Answer:
    place = f"http://localhost:9{question.path}"
    return Answer(307, {"Location": place, "Content-Length": "0"})


def _nowhere(question: Question, answer: Answer) -> Answer:
    return Answer(301, {"Content-Length": "0"})


def refusing(status: int, code: str = "Refused", *, times: int = 10**9) -> Fault:
    """Return the fault of a store that refuses the first requests for each path."""
    return lambda question, answer: refusal(status, code) if question.number < times else None


FAULTS: dict[str, Fault] = {
    "cut off": _cut,
    "longer than it says": _longer,
    "slow": _slow,
    "stalled": _stalled,
    "whole instead of a part": _whole,
    "another part": _elsewhere,
    "garbage": _garbage,
    "said to be gzip": _packed,
    "a page for everything": _page,
    "without a length": _unmeasured,
    "of negative length": _immeasurable,
    "redirected in circles": _looping,
    "redirected to a file": _to_a_file,
    "redirected to another host": _to_another_host,
    "redirected nowhere": _nowhere,
    "denied": refusing(403, "AccessDenied"),
    "signature refused": refusing(403, "SignatureDoesNotMatch"),
    "credentials expired": refusing(400, "ExpiredToken"),
    "missing": refusing(404, "NoSuchBucket"),
    "broken": refusing(500, "InternalError"),
    "busy": refusing(503, "SlowDown"),
}
"""What can be wrong with every answer of a store, by name."""
PASSING: dict[str, Fault] = {
    "broken at first": refusing(500, "InternalError", times=2),
    "busy at first": refusing(503, "SlowDown", times=2),
}
"""What is overcome by asking again."""
