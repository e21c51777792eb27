"""Addresses, documents and listings of local and in-memory stores; errors in our own words."""

import errno
import os
import subprocess
import sys
import zipfile

import obstore.exceptions
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from projectome.errors import (
    AccessDeniedError,
    FormatError,
    NotFoundError,
    ParameterError,
    StorageFullError,
    StoreError,
    TransferError,
)
from projectome.io import access, clients, stores
from projectome.io.documents import parse_json, read_json
from projectome.io.failures import WAY_OUT, summary, translate


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path):
    """Address of an empty folder on disk or in memory."""
    if request.param == "disk":
        yield str(tmp_path / "root")
    else:
        yield f"memory://{tmp_path.name}"
        stores.remove(f"memory://{tmp_path.name}")


# Addresses


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket/a/b.zarr/", ("s3", "bucket", "a/b.zarr", None)),
        ("S3://bucket", ("s3", "bucket", "", None)),
        ("gs://b/k", ("gs", "b", "k", None)),
        ("https://host:81/a/b", ("https", "host:81", "a/b", None)),
        ("memory://a/b", ("memory", "", "a/b", None)),
        ("file:///tmp/a%20b", ("file", "", "/tmp/a b", None)),
        ("file://localhost/tmp/a", ("file", "", "/tmp/a", None)),
        ("/tmp/../tmp/a", ("file", "", "/tmp/a", None)),
        ("s3://b/x.ozx/0/c", ("s3", "b", "x.ozx", "0/c")),
        ("s3://b/x.ZIP", ("s3", "b", "x.ZIP", "")),
        ("s3://b/x.zipper/0", ("s3", "b", "x.zipper/0", None)),
    ],
)
def test_addresses_are_taken_apart(url, parts):
    address = stores.parse(url)
    assert (address.scheme, address.root, address.path, address.member) == parts
    assert stores.parse(str(address)) == address


def test_a_relative_path_is_below_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stores.parse("a/b").path == str(tmp_path / "a" / "b")
    assert stores.parse("~/a").path == os.path.expanduser("~/a")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "Not an address"),
        ("a\0b", "Not an address"),
        ("ftp://x/y", r"Unknown kind.*s3://"),
        ("s3://", "names no bucket"),
        ("s3://b/../c", "no '.' or '..'"),
        ("http://host/a?token=1", "without a query"),
        ("http://me:secret@host/a", "a password"),
        ("file://other/a", "names the host"),
    ],
)
def test_addresses_that_cannot_be_meant(url, text):
    with pytest.raises(ParameterError, match=text):
        stores.parse(url)


@pytest.mark.parametrize("url", ["/tmp/x", "s3://b/x", "memory://x", "http://h/x"])
@pytest.mark.parametrize("part", ["..", "a/../../b", "/a", "s3://b/c", "C:/a", "a\\b", "a\0"])
def test_no_way_out_of_a_folder(url, part):
    with pytest.raises(StoreError, match=r"leads out.*own address"):
        stores.join(url, part)


@given(parts=st.lists(st.text(alphabet="ab./\\:é ", max_size=6), max_size=3))
def test_join_stays_inside_or_refuses(parts):
    for root in ("/tmp/store", "s3://bucket/store"):
        try:
            found = stores.join(root, *parts)
        except StoreError:
            continue
        assert found == root or found.startswith(root + "/")
        assert ".." not in found.split("/")


def test_links_out_of_a_folder_are_refused(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "else").mkdir()
    os.symlink(tmp_path / "else", tmp_path / "store" / "link")
    os.symlink(tmp_path / "store", tmp_path / "alias")
    with pytest.raises(StoreError, match=r"symbolic link.*outside"):
        stores.join(str(tmp_path / "store"), "link/a")
    # The folder itself may be a link.
    assert stores.join(str(tmp_path / "alias"), "a") == str(tmp_path / "alias" / "a")


# Documents


def test_what_is_written_is_read(root):
    url = stores.join(root, "a/b.txt")
    assert not stores.exists(url)
    stores.write_bytes(url, b"hello")
    assert stores.exists(url)
    assert stores.read_bytes(url) == b"hello"
    assert stores.read_part(url, 1, 2) == (b"el", 5)
    assert stores.read_part(url, -2, 10) == (b"lo", 5)
    assert stores.read_part(url, 9, 10) == (b"", 5)
    with stores.open_file(url) as file:
        file.seek(2)
        assert file.read() == b"llo"
    stores.write_bytes(url, b"other")
    assert stores.read_bytes(url) == b"other"


def test_listing_is_one_level(root):
    stores.write_bytes(stores.join(root, "b"), b"123")
    stores.write_bytes(stores.join(root, "a/deep/er"), b"1")
    stores.write_bytes(stores.join(root, "c.txt"), b"")
    assert stores.list_folder(root) == [
        stores.Entry("a"),
        stores.Entry("b", 3),
        stores.Entry("c.txt", 0),
    ]
    assert stores.list_folder(root)[0].is_folder


def test_removing_takes_all_below_and_nothing_beside(root):
    for name in ("a/1", "a/b/2", "ab", "a.txt"):
        stores.write_bytes(stores.join(root, name), b"x")
    stores.remove(stores.join(root, "a"))
    assert [e.name for e in stores.list_folder(root)] == ["a.txt", "ab"]
    stores.remove(stores.join(root, "never there"))


def test_copies(root, tmp_path):
    stores.write_bytes(stores.join(root, "a"), b"x" * 3000)
    stores.copy(stores.join(root, "a"), stores.join(root, "b/c"))
    stores.copy(stores.join(root, "a"), str(tmp_path / "out" / "file"))
    assert stores.read_bytes(stores.join(root, "b/c")) == b"x" * 3000
    assert (tmp_path / "out" / "file").read_bytes() == b"x" * 3000
    with pytest.raises(NotFoundError):
        stores.copy(stores.join(root, "none"), str(tmp_path / "out" / "new"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["file"]


def test_nothing_there(root):
    for call in (stores.read_bytes, stores.open_file, lambda u: stores.read_part(u, 0, 1)):
        with pytest.raises(NotFoundError, match=r"[Cc]heck the address"):
            call(stores.join(root, "none"))
    with pytest.raises(NotFoundError):
        stores.list_folder(stores.join(root, "none"))


def test_a_document_has_a_largest_size(root):
    url = stores.join(root, "large")
    stores.write_bytes(url, b"x" * 101)
    assert len(stores.read_bytes(url, limit=101)) == 101
    with pytest.raises(FormatError, match=r"larger than 100 bytes.*right file"):
        stores.read_bytes(url, limit=100)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b'{"a": NaN', b"null"])
def test_documents_that_are_no_objects(data):
    with pytest.raises(FormatError, match=r"U is not a JSON document.*Restore"):
        parse_json(data, url="U")


def test_documents_come_with_their_bytes(root):
    url = stores.join(root, "a.json")
    stores.write_bytes(url, b'{"a": [1, {"b": null}]}')
    assert read_json(url) == ({"a": [1, {"b": None}]}, b'{"a": [1, {"b": null}]}')


# Writing in one piece


def write_half(path, error):
    """Start to write, and fail."""
    with stores.atomic_write(path) as partial:
        partial.write_bytes(b"half")
        raise error


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_nobody_sees_a_part(tmp_path):
    with stores.atomic_write(tmp_path / "new" / "a") as partial:
        partial.write_bytes(b"half")
        assert partial.parent == tmp_path / "new"
        assert not (tmp_path / "new" / "a").exists()
    assert (tmp_path / "new" / "a").read_bytes() == b"half"


def test_a_process_killed_while_writing_leaves_the_old_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    code = (
        "import os, signal\nfrom projectome.io import stores\n"
        f"with stores.atomic_write({str(path)!r}) as p:\n"
        "    p.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, AccessDeniedError),
        (errno.EROFS, AccessDeniedError),
        (errno.EIO, StoreError),
    ],
)
def test_disks_that_refuse(number, kind, tmp_path):
    with pytest.raises(kind) as caught:
        write_half(tmp_path / "a", OSError(number, os.strerror(number)))
    assert type(caught.value) is kind
    assert WAY_OUT[kind] in str(caught.value)
    assert str(tmp_path / "a") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_may_not_be_written(tmp_path):
    if os.geteuid() == 0:
        place = "/proc/version/a"
    else:
        place = str(tmp_path / "locked" / "a")
        (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="Cannot write"):
        stores.write_bytes(place, b"x")


@pytest.mark.parametrize("url", ["http://host/a", "memory://x.zip/a"])
def test_places_that_are_read_only(url):
    with pytest.raises(StoreError, match=r"read only.*Write to a path"):
        stores.write_bytes(url, b"x")
    with pytest.raises(StoreError, match="read only"):
        stores.remove(url)


def test_remote_addresses_have_no_temporary_file():
    with pytest.raises(ParameterError, match="write_bytes"), stores.atomic_write("s3://b/k"):
        pass


# Archives


def test_members_of_an_archive(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x/y.txt", b"hello")
        file.writestr("z", b"1")
    assert stores.list_folder(str(archive)) == [stores.Entry("x"), stores.Entry("z", 1)]
    assert stores.read_bytes(f"{archive}/x/y.txt") == b"hello"
    assert stores.read_part(f"{archive}/x/y.txt", 1, 3) == (b"ell", 5)
    assert not stores.exists(f"{archive}/x/none")
    with pytest.raises(NotFoundError):
        stores.list_folder(f"{archive}/none")
    assert stores.read_bytes(str(archive))[:2] == b"PK"


def test_an_archive_that_would_unpack_is_refused(tmp_path):
    """A zip bomb: 100 kB that would be 100 MB."""
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", b"\0" * 10**8)
    with pytest.raises(FormatError, match=r"'zarr\.json'.*Unpack it"):
        stores.read_bytes(f"{archive}/zarr.json")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"nothing", b"PK\x05\x06" + b"\xff" * 18])
def test_an_archive_that_is_none(data, tmp_path):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(FormatError, match="not a readable zip archive"):
        stores.list_folder(str(tmp_path / "a.zip"))


def test_a_folder_may_be_called_zip(tmp_path):
    (tmp_path / "a.zip").mkdir()
    (tmp_path / "a.zip" / "x").write_bytes(b"1")
    assert stores.read_bytes(f"{tmp_path}/a.zip/x") == b"1"


# Asking object stores


def test_anonymous_by_default(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    spec = stores.kvstore_spec("s3://b/k", access=stores.Access(region="r"))
    assert spec["aws_credentials"] == {"type": "anonymous"}
    assert spec["aws_region"] == "r"
    assert "endpoint" not in spec


def test_signed_asks_one_place_for_credentials(monkeypatch, tmp_path):
    signed = stores.Access(region="r", signed=True)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert access.aws_credentials(signed) == {"type": "default"}
    (tmp_path / "keys").write_text("[me]\naws_access_key_id = A\naws_secret_access_key = B\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_PROFILE", "me")
    assert access.aws_credentials(signed)["type"] == "profile"
    assert access.shared_credentials() == {"access_key_id": "A", "secret_access_key": "B"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    assert access.aws_credentials(signed) == {"type": "environment"}
    assert access.shared_credentials() == {}


def test_arguments_win_over_settings(monkeypatch, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('endpoint = "http://lab:9000/"\nsigned = "true"\n')
    monkeypatch.setenv("PROJECTOME_CONFIG", str(file))
    assert stores.Access.of() == stores.Access("http://lab:9000", "", signed=True)
    found = stores.Access.of(endpoint="http://other", anonymous=True)
    assert found == stores.Access("http://other", "", signed=False)


def test_an_endpoint_is_asked_path_style():
    spec = stores.kvstore_spec("s3://bucket/k", access=stores.Access("http://lab:9000"))
    assert spec["endpoint"] == "http://lab:9000"
    assert spec["path"] == "k/"


def test_public_google_storage_is_read_without_credentials():
    spec = stores.kvstore_spec("gs://bucket/a/b", access=stores.Access())
    assert spec == {"driver": "http", "base_url": "https://storage.googleapis.com/bucket/a/b/"}
    signed = stores.kvstore_spec("gs://bucket/a/b", access=stores.Access(signed=True))
    assert signed == {"driver": "gcs", "bucket": "bucket", "path": "a/b/"}


def test_the_region_is_asked_once_and_never_for_long(monkeypatch):
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(403)
            self.send_header("x-amz-bucket-region", "us-west-2")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setitem(
            access.PUBLIC, "s3", f"http://127.0.0.1:{server.server_port}/{{bucket}}"
        )
        assert access.bucket_region("some-public-bucket") == "us-west-2"
        server.shutdown()
        thread.join()
    assert access.bucket_region("some-public-bucket") == "us-west-2"
    assert access.bucket_region("bucket-nobody-answers-for") == access.FALLBACK_REGION


def test_one_context_a_process():
    assert stores.context() is stores.context()
    spec = stores.context().spec.to_json()
    assert spec["s3_request_concurrency"] == {"limit": 128}
    assert spec["s3_request_retries"]["initial_delay"] == "50ms"


# Errors in our own words


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("NOT_FOUND: gone"), NotFoundError),
        (ValueError("PERMISSION_DENIED: no"), AccessDeniedError),
        (ValueError("RESOURCE_EXHAUSTED: write: No space left on device"), StorageFullError),
        (ValueError("UNAVAILABLE: later"), TransferError),
        (ValueError("something else"), StoreError),
        (TimeoutError(), TransferError),
        (FileNotFoundError(2, "No such file"), NotFoundError),
        (obstore.exceptions.NotFoundError("x"), NotFoundError),
        (obstore.exceptions.PermissionDeniedError("x"), AccessDeniedError),
        (obstore.exceptions.GenericError("x\n\nDebug source:\nlong"), TransferError),
        (obstore.exceptions.GenericError("code: 403 Forbidden: <!DOC"), AccessDeniedError),
    ],
)
def test_every_error_names_place_and_way_out(error, kind):
    found = translate(error, "s3://b/k", "read")
    assert type(found) is kind
    assert "Cannot read s3://b/k" in str(found)
    assert WAY_OUT[kind] in str(found)
    assert "Debug" not in str(found)


def test_the_innards_of_libraries_are_left_out():
    error = ValueError("NOT_FOUND: x is gone. [tensorstore_spec='{...}'] [source locations='y']")
    assert summary(error) == "NOT_FOUND: x is gone"
    assert summary(ValueError("")) == "ValueError"


def test_waiting_has_an_end(monkeypatch):
    monkeypatch.setattr(clients, "PATIENCE", 0.05)
    promise, future = ts.Promise.new()
    with pytest.raises(TransferError, match=r"no answer in time.*Try again"):
        stores.wait(future, url="s3://b/k")
    promise.set_result(1)
