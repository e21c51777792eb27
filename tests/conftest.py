"""How hypothesis runs: the same examples every time, and new ones on request.

``HYPOTHESIS_PROFILE=explore pytest`` draws ten times as many, at random.
"""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None, max_examples=60, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=600, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


@dataclass
class Buckets:
    """A local S3 server whose requests are counted."""

    endpoint: str
    folder: Path
    asked: list[str] = field(default_factory=list)

    def listings(self) -> int:
        """How many of the requests list."""
        return sum("list-type=2" in query for query in self.asked)


@contextlib.contextmanager
def serve(folder, **options):
    """Serve a folder of buckets over S3, and count the requests."""
    import hadro.app

    asked = []
    create = hadro.app.create_app

    def counting_app(*given, **more):
        app = create(*given, **more)

        async def counted(scope, receive, send):
            if scope["type"] == "http":
                asked.append(f"{scope['path']}?{scope['query_string'].decode()}")
            await app(scope, receive, send)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hadro.app, "create_app", counting_app)
        with hadro.Server(data=str(folder), region="us-east-1", **options) as server:
            yield Buckets(server.endpoint, Path(folder), asked)


@pytest.fixture(scope="session")
def serving_buckets():
    """Function that serves a folder of buckets."""
    return serve


@pytest.fixture(scope="session")
def replicas(tmp_path_factory):
    """A folder with replicas of the public buckets, made when they are asked for."""
    from projectome.testing.replica import BUCKETS, make_replica

    folder = tmp_path_factory.mktemp("buckets")
    for dataset in BUCKETS:
        make_replica(folder, dataset)
    return folder


@pytest.fixture(scope="session")
def replica_buckets(replicas):
    """The replicas behind a local S3 server, 50 ms away; clear its ``asked`` before counting."""
    with serve(replicas, latency_ms=50) as buckets:
        yield buckets
