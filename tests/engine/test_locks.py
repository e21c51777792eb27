"""Leases, tried in memory; the same against a real S3 server in test_objects."""

import json
import os
import time

import pytest

import projectome.engine.locks as module
from projectome.engine.locks import holder, locked
from projectome.errors import OutputBusyError
from projectome.io import stores

ACCESS = stores.Access()


@pytest.fixture
def url(tmp_path):
    return f"memory://{tmp_path}/ledger"


def put(url, number, **owner):
    known = {"token": "t", "pid": 4_000_000, "host": "elsewhere", "since": "2026-01-01"}
    text = json.dumps(known | {"expires": time.time() + 60.0} | owner)
    stores.write_bytes(stores.join(url, "lock", str(number)), text.encode())


def numbers(url):
    return [entry.name for entry in stores.list_folder(stores.join(url, "lock"))]


def test_a_lease_is_held_and_released(url):
    with locked(url, ACCESS) as token:
        assert holder(url, ACCESS)["token"] == token
        with pytest.raises(OutputBusyError, match=f"process {os.getpid()} on"), locked(url, ACCESS):
            pass
    with locked(url, ACCESS) as other:
        assert other != token
    assert len(numbers(url)) == 1  # old leases are removed


def test_a_living_holder_elsewhere_is_respected(url):
    put(url, 3)
    with (
        pytest.raises(OutputBusyError, match="process 4000000 on elsewhere, since 2026-01-01"),
        locked(url, ACCESS),
    ):
        pass


def test_an_expired_lease_is_taken_over(url):
    put(url, 3, expires=time.time() - 1.0)
    with locked(url, ACCESS) as token:
        assert numbers(url) == ["4"]
        assert holder(url, ACCESS)["token"] == token


@pytest.mark.parametrize(
    "owner", [{"pid": 4_000_000}, {"pid": os.getpid(), "started": 1.0}]
)  # nobody has that number; the number went to another process
def test_a_dead_holder_on_this_host_is_taken_over(url, owner):
    put(url, 1, host=module.socket.gethostname(), **owner)
    with locked(url, ACCESS):
        assert numbers(url) == ["2"]


def test_of_two_that_take_over_one_wins(url, monkeypatch):
    put(url, 5, expires=0.0)
    create = module.create_bytes

    def late(place, data, *, access):
        monkeypatch.setattr(module, "create_bytes", create)
        put(url, 6, token="winner")  # was there a moment earlier
        return create(place, data, access=access)

    monkeypatch.setattr(module, "create_bytes", late)
    with pytest.raises(OutputBusyError, match="elsewhere"), locked(url, ACCESS):
        pass
    assert holder(url, ACCESS)["token"] == "winner"


def test_a_number_that_was_used_up_does_not_win(url, monkeypatch):
    put(url, 5, expires=0.0)
    create = module.create_bytes

    def late(place, data, *, access):
        put(url, 7, token="winner")  # another one has come, gone, and come again
        stores.remove(stores.join(url, "lock", "5"))
        return create(place, data, access=access)

    monkeypatch.setattr(module, "create_bytes", late)
    with pytest.raises(OutputBusyError), locked(url, ACCESS):
        pass
    assert numbers(url) == ["7"]


def test_a_lease_is_renewed(url, monkeypatch):
    monkeypatch.setattr(module, "LEASE", 0.3)
    with locked(url, ACCESS) as token:
        time.sleep(0.8)
        found = holder(url, ACCESS)
        assert found["token"] == token
        assert found["expires"] > time.time()


def test_broken_leases_are_no_holders(url):
    stores.write_bytes(stores.join(url, "lock", "8"), b"{")
    stores.write_bytes(stores.join(url, "lock", "notes"), b"")
    with locked(url, ACCESS):
        assert "9" in numbers(url)


@pytest.mark.parametrize("place", ["memory://{}/new", "{}/folder/new"])
def test_a_document_is_created_once(tmp_path, place):
    url = place.format(tmp_path)
    assert stores.create_bytes(url, b"first")
    assert not stores.create_bytes(url, b"second")
    assert stores.read_bytes(url) == b"first"
