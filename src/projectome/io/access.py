"""How to ask an object store: endpoint, region, anonymous or signed."""

from __future__ import annotations

import configparser
import functools
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from projectome import settings

PUBLIC = {"gs": "https://storage.googleapis.com", "s3": "https://{bucket}.s3.amazonaws.com"}
FALLBACK_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Access:
    """How to ask an object store.

    Attributes
    ----------
    endpoint
        Address of an S3 service other than AWS; it is asked path style.
    region
        S3 region; found out by asking AWS where empty.
    signed
        Whether requests are signed with the usual AWS (or Google) credentials. Anonymous requests
        never look for credentials, which can take seconds.
    """

    endpoint: str = ""
    region: str = ""
    signed: bool = False

    @classmethod
    def of(cls, *, endpoint: str | None = None, anonymous: bool | None = None) -> Access:
        """Return how to ask, by arguments first and by the settings where they are None."""
        found, sources = settings.resolve()
        return cls(
            endpoint=(found.endpoint if endpoint is None else endpoint).rstrip("/"),
            region="" if sources["region"] == "default" else found.region,
            signed=found.signed if anonymous is None else not anonymous,
        )


@functools.cache
def bucket_region(bucket: str) -> str:
    """Return the region of an AWS bucket; the fallback where AWS does not say within 5 s."""
    request = urllib.request.Request(PUBLIC["s3"].format(bucket=bucket), method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:  # a private bucket answers 403, with its region
        headers = error.headers
    except OSError:
        return FALLBACK_REGION
    return str(headers.get("x-amz-bucket-region") or FALLBACK_REGION)


def _credentials_file() -> Path:
    named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    return Path(named).expanduser()


def _profile() -> str:
    return os.environ.get("AWS_PROFILE") or "default"


def shared_credentials() -> dict[str, str]:
    """Return the keys of the AWS credentials file; nothing where the environment has them.

    Returns
    -------
    dict
        ``access_key_id``, ``secret_access_key`` and perhaps ``session_token`` of the profile that
        ``AWS_PROFILE`` names, or of ``default``.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(_credentials_file(), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    names = ("access_key_id", "secret_access_key", "session_token")
    found = {name: parser.get(_profile(), f"aws_{name}", fallback="") for name in names}
    return {name: value for name, value in found.items() if value}


def aws_credentials(how: Access) -> dict[str, str]:
    """Return where tensorstore finds credentials: it tries one place, not a chain of them."""
    if not how.signed:
        return {"type": "anonymous"}
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return {"type": "environment"}
    if not shared_credentials():
        return {"type": "default"}
    file = _credentials_file()
    config = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    # The provider demands a config file; that of the credentials says nothing else.
    found = config if config.is_file() else file
    return {
        "type": "profile",
        "profile": _profile(),
        "credentials_file": str(file),
        "config_file": str(found),
    }
