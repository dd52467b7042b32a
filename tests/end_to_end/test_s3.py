"""A dataset in an object store: the same build into ``s3://``, over the real protocol."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from frenchcat.sample_site import SampleSite
from tests.end_to_end.test_build import build, run, write_list
from tests.trees import tree_digest

BUCKET = "cats"


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """An S3 server at loopback; gives the environment in which clients find it."""
    moto = pytest.importorskip("moto.server") if not os.environ.get("CI") else None
    if moto is None:
        import moto.server as moto
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


def frenchcat(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "frenchcat", *arguments]


def fetch(store: dict[str, str], prefix: str, to: Path) -> None:
    """Copy a prefix of the bucket to a folder."""
    import s3fs

    fs = s3fs.S3FileSystem(
        endpoint_url=store["AWS_ENDPOINT_URL"],
        key="testing",
        secret="testing",
        skip_instance_cache=True,
    )
    fs.get(f"{BUCKET}/{prefix}/", f"{to}/", recursive=True)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_build_into_s3_is_searched_resumed_and_equal_to_a_local_one(
    store: dict[str, str], tmp_path: Path
) -> None:
    import boto3

    boto3.client(
        "s3",
        endpoint_url=store["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    ).create_bucket(Bucket=BUCKET)
    address = f"s3://{BUCKET}/mine"
    with SampleSite() as site:
        urls = tmp_path / "urls.parquet"
        write_list(urls, site.base_url, 30)
        there = build(urls, tmp_path / "local", site)
        run(there)
        there[there.index("--out") + 1] = address
        run(there, **store)
        fetch(store, "mine", tmp_path / "fetched")
        assert tree_digest(tmp_path / "fetched") == tree_digest(tmp_path / "local")
        assert "to do" not in run([*there, "--json"], **store)

    shown = json.loads(run(frenchcat("info", address, "--json"), **store))
    assert shown["indexed"] == shown["downloaded"] > 20
    search = frenchcat("search", address, "a cat", "-k", "3", "--json")
    local = [*search]
    local[local.index(address)] = str(tmp_path / "local")
    assert run(search, **store) == run(local)
