"""Listing buckets whose keys no path could have, and answers that cannot be trusted."""

import http.server
import threading
import urllib.parse
from itertools import pairwise
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import AccessDeniedError, FormatError, NotFoundError, TransferError
from projectome.io import s3_listing, stores
from projectome.io.access import Access
from projectome.io.kinds import look_into, shown
from projectome.io.s3_listing import read_page

NASTY = ["a/b", "a/\x1b[31mred", "a//inner/x", "a/../../etc/passwd", "a/new\nline/x", "a/plus + 1"]

WHEN = '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"0"</ETag>'


class Answers(http.server.BaseHTTPRequestHandler):
    """Lists `NASTY` two names a page, after failing as often as it is told to."""

    failures: tuple[int, ...] = ()

    def log_message(self, *_):
        pass

    def do_GET(self):
        cls = type(self)
        if cls.failures:
            code, *rest = cls.failures
            cls.failures = tuple(rest)
            return self.send_error(code)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        prefix = query.get("prefix", "")
        names = []
        for key in sorted(k for k in NASTY if k.startswith(prefix)):
            head, slash, _ = key[len(prefix) :].partition("/")
            if (prefix + head + slash) not in names:
                names.append(prefix + head + slash)
        start = int(query.get("continuation-token", 0))
        cut = names[start : start + 2]
        more = start + 2 < len(names)

        asked_for = "encoding-type" in query

        def quoted(key):
            if asked_for:
                return escape(urllib.parse.quote_plus(key, safe="/"))
            return "".join(c if c.isprintable() else f"&#{ord(c)};" for c in escape(key))

        body = "<ListBucketResult>" + "<EncodingType>url</EncodingType>" * asked_for
        for key in cut:
            folder = f"<CommonPrefixes><Prefix>{quoted(key)}</Prefix></CommonPrefixes>"
            file = f"<Contents><Key>{quoted(key)}</Key><Size>7</Size>{WHEN}</Contents>"
            body += folder if key.endswith("/") else file
        body += f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        if more:
            body += f"<NextContinuationToken>{start + 2}</NextContinuationToken>"
        data = f"{body}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return None


@pytest.fixture
def nasty(monkeypatch):
    """Endpoint of a bucket with hostile keys."""
    monkeypatch.setattr(s3_listing.time, "sleep", lambda seconds: None)
    Answers.failures = ()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Access(endpoint=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def names(how, beginning=""):
    found = s3_listing.pages(stores.parse("s3://bucket/a"), how, beginning=beginning)
    return [[*page.folders, *(key for key, _ in page.files)] for page in found]


def test_all_pages_and_all_names(nasty):
    found = [name for page in names(nasty) for name in page]
    assert sorted(found) == sorted(
        ["a/../", "a//", "a/b", "a/new\nline/", "a/plus + 1", "a/\x1b[31mred"]
    )
    assert [len(page) for page in names(nasty)] == [2, 2, 2]
    assert names(nasty, "new") == [["a/new\nline/"]]


def test_such_a_folder_is_listed_and_shown_escaped(nasty):
    items = look_into("s3://bucket/a", access=nasty, peek=0).items
    shown_names = {shown(item.name): item.size for item in items}
    assert shown_names["\\x1b[31mred"] == 7
    assert shown_names["new\\nline"] is None
    assert shown_names[".."] is None


def test_a_busy_store_is_asked_again_and_others_are_told(nasty):
    Answers.failures = (503, 500, 503)
    assert len(names(nasty)) == 3
    for code, kind in ((403, AccessDeniedError), (404, NotFoundError)):
        Answers.failures = (code,)
        with pytest.raises(kind, match="Cannot list s3://bucket/a: the store answered"):
            names(nasty)
    Answers.failures = (503,) * 9
    with pytest.raises(TransferError, match="Try again"):
        names(nasty)


def test_an_answer_may_not_declare_anything():
    evil = b'<!DOCTYPE x [<!ENTITY e "boom">]><ListBucketResult>&e;</ListBucketResult>'
    with pytest.raises(FormatError, match="document type"):
        read_page(evil, url="s3://b")
    with pytest.raises(FormatError, match="not XML"):
        read_page(b"<ListBucketResult>", url="s3://b")
    with pytest.raises(FormatError, match=r"no S3 store.*--endpoint"):
        read_page(b"<html></html>", url="s3://b")


@given(st.binary(max_size=300))
def test_any_answer_is_read_or_refused(data):
    try:
        page = read_page(data, url="s3://b")
    except FormatError:
        return
    assert isinstance(page.files, list)


@pytest.mark.server
def test_names_that_begin_with_a_text(replica_buckets):
    how = Access(endpoint=replica_buckets.endpoint)
    whole = stores.list_folder("s3://aind-open-data", access=how)
    for beginning in ("SmartSPIM_652506_", "exaSPIM_8", "S", "absent", "zzz"):
        replica_buckets.asked.clear()
        found = stores.list_beginning("s3://aind-open-data", beginning, access=how)
        assert found == [e for e in whole if e.name.startswith(beginning)]
        assert len(replica_buckets.asked) == 1
    inner = stores.list_beginning("s3://e11bio-prism/ls/images/precomputed", "pre_mask", access=how)
    assert [e.name for e in inner] == ["pre_mask_dense_seg", "pre_mask_local_seg_spines"]
    assert all(a.name < b.name for a, b in pairwise(whole))
