"""An S3 store over its own protocol: what another process wrote is seen at once."""

from collections.abc import Iterator
from typing import Any

import pytest

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.run_stage import run_stage
from frenchcat.curate.stage import Engine
from tests.sample.stages import Times

BUCKET = "listed"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Another client of a store with an empty bucket."""
    import boto3
    import moto.server
    import s3fs

    server = moto.server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    made = boto3.client("s3")
    made.create_bucket(Bucket=BUCKET)
    yield made
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_another_process_wrote_is_seen_at_once(client: Any) -> None:
    dataset = Dataset.create(f"s3://{BUCKET}/cats", "cats")
    with dataset.lock():
        run_stage(dataset, Times(), ["00000"], Engine(workers=1))
        assert run_stage(dataset, Times(), ["00000"], Engine(workers=1)).skipped == 1
        assert dataset.shards("times") == ["00000"]
        marker = client.get_object(Bucket=BUCKET, Key="cats/stages/times/00000.json")
        client.put_object(
            Bucket=BUCKET, Key="cats/stages/times/00001.json", Body=marker["Body"].read()
        )
        assert dataset.exists("stages/times/00001.json")
        assert run_stage(dataset, Times(), ["00000"], Engine(workers=1)).counts == {"rows": 1}
        assert dataset.files("numbers") == ["00000.bak", "00000.txt"]
        client.put_object(Bucket=BUCKET, Key="cats/numbers/00000.txt", Body=b"longer")
        assert dataset.size("numbers/00000.txt") == 6
        assert run_stage(dataset, Times(), ["00000"], Engine(workers=1)).done == 1
        client.delete_object(Bucket=BUCKET, Key="cats/numbers/00000.txt")
        assert dataset.files("numbers") == ["00000.bak"]
        assert dataset.size("numbers/00000.txt") is None
    assert dataset.files("") == ["dataset.json", "numbers", "stages"]
