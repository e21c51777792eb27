"""Stores that misbehave: a right value or an error that names the way out, and soon."""

import contextlib
import time

import numpy as np
import pytest
import tifffile

from projectome.core.box import Box
from projectome.datasets.find import Query, find
from projectome.errors import (
    AccessDeniedError,
    FormatError,
    NotFoundError,
    ProjectomeError,
    StoreError,
    TransferError,
)
from projectome.io import clients, kinds, listing, s3_listing, stores
from projectome.io.access import Access
from projectome.io.objects import files_below
from projectome.io.open import open_volume
from projectome.io.source import VolumeSource
from projectome.testing.faults import FAULTS, PASSING, Answer, document, faulty_store, listed
from projectome.testing.readers import WAY_OUT
from projectome.workflows.download import download

pytestmark = pytest.mark.server
BOX = Box((0, 0, 0), (6, 8, 8))
SUBJECT = "SmartSPIM_652506_2023-01-06_10-22-14"
SOON = 12.0
"""Seconds, of which a store that answers nothing takes the most."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make):
    """Two buckets: a volume, a TIFF and a document; and one of a known dataset."""
    root = tmp_path_factory.mktemp("faulty")
    make.image(root / "data" / "brain.ome.zarr", "0.4")
    voxels = make.noise((6, 40, 30))
    tifffile.imwrite(root / "data" / "raw.tif", voxels, photometric="minisblack")
    asset = root / "aind-open-data" / SUBJECT
    asset.mkdir(parents=True)
    (asset / "subject.json").write_text("{}")
    return root


@pytest.fixture
def store(folder, monkeypatch):
    """A server that can be spoilt; whoever asks it has little patience."""
    monkeypatch.setattr(clients, "PATIENCE", 0.4)
    monkeypatch.setattr(clients, "SILENCE", 0.5)
    monkeypatch.setattr(clients, "TRYING", 0.4)
    monkeypatch.setattr(clients, "LONGEST", 1.5)
    monkeypatch.setattr(s3_listing, "PATIENCE", 0.5)
    monkeypatch.setattr(listing, "PATIENCE", 1.0)
    monkeypatch.setattr(listing, "LONGEST", 1.0)
    monkeypatch.setattr(s3_listing, "TRIES", 2)
    clients._bucket.cache_clear()
    with faulty_store(folder) as found:
        yield found
    clients._bucket.cache_clear()


@pytest.fixture(scope="module")
def truth(folder):
    """What a sound store gives."""
    volume = open_volume(str(folder / "data" / "brain.ome.zarr"))[0]
    plain = tifffile.imread(folder / "data" / "raw.tif")[BOX.slices]
    source = VolumeSource(str(folder / "data" / "brain.ome.zarr"))
    return {"volume": volume.read(BOX), "tiff": plain, "fingerprint": source.fingerprint()}


def zarr_s3(store, truth, tmp_path):
    volume = open_volume("s3://data/brain.ome.zarr", endpoint=store.endpoint)[0]
    np.testing.assert_array_equal(volume.read(BOX), truth["volume"])


def zarr_http(store, truth, tmp_path):
    volume = open_volume(f"{store.endpoint}/data/brain.ome.zarr")[0]
    np.testing.assert_array_equal(volume.read(BOX), truth["volume"])


def tiff_s3(store, truth, tmp_path):
    options = {"voxel_size": (1, 1, 1), "axes": "zyx", "endpoint": store.endpoint}
    np.testing.assert_array_equal(
        open_volume("s3://data/raw.tif", **options)[0].read(BOX), truth["tiff"]
    )


def tiff_http(store, truth, tmp_path):
    volume = open_volume(f"{store.endpoint}/data/raw.tif", voxel_size=(1, 1, 1), axes="zyx")[0]
    np.testing.assert_array_equal(volume.read(BOX), truth["tiff"])


def fingerprint(store, truth, tmp_path):
    source = VolumeSource("s3://data/brain.ome.zarr", endpoint=store.endpoint)
    assert source.fingerprint() == truth["fingerprint"]


def ls(store, truth, tmp_path):
    look = kinds.look_into("s3://data", access=Access(store.endpoint))
    assert [item.name for item in look.items] == ["brain.ome.zarr", "raw.tif"]


def find_subject(store, truth, tmp_path):
    found = find("aind-open-data", Query(subject="652506"), endpoint=store.endpoint)
    assert [asset.name for asset in found.assets] == [SUBJECT]


def download_tree(store, truth, tmp_path):
    try:
        download("s3://data/brain.ome.zarr", tmp_path / "tree", access=Access(store.endpoint))
    finally:
        source = store.folder / "data" / "brain.ome.zarr"
        for path in (p for p in (tmp_path / "tree").rglob("*") if p.is_file()):
            if not path.name.endswith(".partial"):
                assert (
                    path.read_bytes() == (source / path.relative_to(tmp_path / "tree")).read_bytes()
                )


WORK = (zarr_s3, zarr_http, tiff_http, tiff_s3, ls, fingerprint, download_tree, find_subject)


LONG = ("slow", "stalled", "broken", "busy")
"""Faults that are waited for: they are tried on half of the work."""
CASES = [(f, w) for f in FAULTS for w in (WORK[::2] if f in LONG else WORK)]


@pytest.mark.parametrize(("fault", "work"), CASES)
def test_whatever_is_wrong_the_value_is_right_or_the_error_helps(
    fault, work, store, truth, tmp_path
):
    if fault == "garbage" and work in (tiff_s3, tiff_http):
        return  # plain voxels have no checksum
    told, began = "give", time.perf_counter()
    with store.spoilt(FAULTS[fault]):
        try:
            work(store, truth, tmp_path)
        except ProjectomeError as error:
            told = str(error)
    assert time.perf_counter() - began < SOON
    assert WAY_OUT.search(told), told
    assert "[tensorstore_spec" not in told
    assert "Error performing" not in told


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_overcome(fault, store, truth, tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "PATIENCE", 20.0)
    monkeypatch.setattr(clients, "TRYING", 20.0)
    monkeypatch.setattr(s3_listing, "TRIES", 4)
    with store.spoilt(PASSING[fault]):
        for work in (zarr_s3, tiff_http, ls, download_tree):
            work(store, truth, tmp_path)


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("credentials expired", AccessDeniedError, r"400 Bad Request.*Renew them.*--anonymous"),
        ("signature refused", AccessDeniedError, r"403.*credentials that have not run out"),
        ("redirected nowhere", StoreError, r"redirect.*sends the request elsewhere.*--endpoint"),
        ("missing", NotFoundError, r"404 Not Found.*projectome ls"),
        ("busy", TransferError, r"503.*Try again"),
        ("a page for everything", FormatError, r"is no S3 store.*--endpoint"),
    ],
)
def test_the_way_out_of_a_listing(fault, kind, text, store):
    with store.spoilt(FAULTS[fault]), pytest.raises(kind, match=text):
        stores.list_folder("s3://data", access=Access(store.endpoint))


def test_a_server_without_parts_gives_small_files_and_names_the_way_for_large_ones(
    store, truth, tmp_path
):
    with store.spoilt(FAULTS["whole instead of a part"]):
        zarr_http(store, truth, tmp_path)
        assert (
            stores.read_part(f"{store.endpoint}/data/raw.tif", -4, 9)[1]
            == (store.folder / "data" / "raw.tif").stat().st_size
        )
        with pytest.raises(StoreError, match=r"does not send parts.*projectome download"):
            tiff_http(store, truth, tmp_path)


# Listings


def endless(question, answer):
    """Page after page of new names."""
    names = {f"k{question.number:06d}-{i:03d}": 5 for i in range(100)}
    return document(listed(names, f"t{question.number}")) if question.lists else None


def test_a_listing_without_end_ends(store, monkeypatch):
    monkeypatch.setattr(s3_listing, "MOST_PAGES", 20)
    with store.spoilt(endless), pytest.raises(StoreError, match=r"more than 20 pages.*inside it"):
        stores.list_folder("s3://data", access=Access(store.endpoint))
    assert len(store.asked) == 20


def same(question, answer):
    """Every page is the second one."""
    names = {f"tree/{question.query.get('continuation-token', '')}{i}": 5 for i in range(50)}
    return document(listed(names, "t")) if question.lists else None


def empty(question, answer):
    """There is always more, and never a name."""
    return document(listed({}, "t")) if question.lists else None


LISTERS = {
    "folder": lambda url, how: stores.list_folder(url, access=how),
    "beginning": lambda url, how: stores.list_beginning(url, "tree", access=how),
    "below": lambda url, how: list(files_below(url, access=how)),
    "removed": lambda url, how: stores.remove(url, access=how),
}


@pytest.mark.parametrize("name", LISTERS)
@pytest.mark.parametrize("fault", [same, empty])
@pytest.mark.parametrize("signed", [False, True])
def test_pages_that_lead_nowhere_end(name, fault, signed, store, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A" * 20)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B" * 40)
    how, began = Access(store.endpoint, signed=signed), time.perf_counter()
    with store.spoilt(fault):
        try:
            LISTERS[name]("s3://data", how)
            told = "give"
        except ProjectomeError as error:
            told = str(error)
        asked = len(store.asked)
        time.sleep(0.3)
        assert len(store.asked) <= asked + 1  # and nobody goes on asking
    assert time.perf_counter() - began < SOON
    assert WAY_OUT.search(told), told


def test_a_page_without_end_is_not_kept(store):
    def flood(question, answer):
        answer.body, answer.endless = b"<ListBucketResult>" + b" " * 2**20, True
        answer.headers["Content-Length"] = str(10**15)

    with store.spoilt(flood), pytest.raises((FormatError, TransferError), match="--endpoint"):
        stores.list_folder("s3://data", access=Access(store.endpoint))


BOMB = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><ListBucketResult>&b;</ListBucketResult>"


def test_a_listing_that_declares_entities_is_refused(store):
    with (
        store.spoilt(lambda question, answer: document(BOMB)),
        pytest.raises(FormatError, match=r"document type|entity"),
    ):
        stores.list_folder("s3://data", access=Access(store.endpoint))


def test_names_that_climb_are_listed_and_never_written(store, tmp_path):
    def climbing(question, answer):
        if question.lists:
            return document(listed({"tree/../../evil": 4, "tree/good": 4, "tree/\x7f\x9b": 4}))
        found = {"Content-Length": "4", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        return Answer(200, found, b"evil") if question.path != "/data/tree" else None

    target = tmp_path / "below" / "target"
    with store.spoilt(climbing), contextlib.suppress(ProjectomeError):
        download("s3://data/tree", target, access=Access(store.endpoint))
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and target not in p.parents]
    assert [p.name for p in outside if p.name != "no-settings.toml"] == []


# Redirects


@pytest.mark.parametrize("signed", [False, True])
def test_no_redirect_carries_a_signature_to_another_host(signed, store, monkeypatch, folder):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A" * 20)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B" * 40)
    with faulty_store(folder) as other:
        there = other.endpoint.replace("127.0.0.1", "localhost")

        def away(question, answer):
            return Answer(307, {"Location": there + question.path, "Content-Length": "0"})

        with store.spoilt(away):
            for call in (
                lambda how: stores.read_bytes("s3://data/brain.ome.zarr/.zattrs", access=how),
                lambda how: stores.list_folder("s3://data", access=how),
            ):
                with contextlib.suppress(ProjectomeError):
                    call(Access(store.endpoint, signed=signed))
        assert not any("authorization" in question.headers for question in other.asked)
        assert any("authorization" in question.headers for question in store.asked) == signed


def test_chunks_and_anonymous_listings_follow_no_redirect(store, folder):
    with faulty_store(folder) as other:

        def away(question, answer):
            if question.lists or question.path.count("/") > 4:
                place = {"Location": other.endpoint + question.path, "Content-Length": "0"}
                return Answer(302, place)
            return None

        with store.spoilt(away):
            volume = open_volume(f"{store.endpoint}/data/brain.ome.zarr")[0]
            with pytest.raises(ProjectomeError, match=r"Restore|again|redirect"):
                volume.read(BOX)
            with pytest.raises(StoreError, match="a redirect, which is not followed"):
                stores.list_folder("s3://data", access=Access(store.endpoint))
        assert other.asked == []
