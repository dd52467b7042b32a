"""The proxies and the unit of docs/deploy.md, as printed there, in front of the service."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from tests.index.service.live import Live, live
from tests.index.service.test_stage_columns import KEYS

DOCS = (Path(__file__).resolve().parents[3] / "docs" / "deploy.md").read_text()
BLOCKS: list[str] = re.findall(r"```text\n(.*?)```", DOCS, re.DOTALL)
HOST = "cats.example"
INSTALLED_IN_CI = ("nginx",)  # by .ci/run


def block(beginning: str) -> str:
    """The configuration that begins so."""
    (found,) = [one for one in BLOCKS if one.startswith(beginning)]
    return found


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        message = f"no {program}; apt-get install {program}"
        missing = os.environ.get("CI") and program in INSTALLED_IN_CI
        pytest.fail(message) if missing else pytest.skip(message)
    return str(found)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def proxy(command: list[str], port: int, log: Path, **environment: str) -> Iterator[httpx.Client]:
    """A client of a proxy that runs as long; its certificate is its own."""
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, **environment}
        )
        try:
            transport = httpx.HTTPTransport(verify=False, retries=8)  # until it listens
            address = f"https://127.0.0.1:{port}"
            headers = {"Host": HOST}
            with httpx.Client(
                base_url=address, headers=headers, transport=transport, timeout=60
            ) as client:
                client.get("/healthz", extensions={"sni_hostname": HOST})
                yield client
        except httpx.ConnectError:
            pytest.fail(log.read_text())
        finally:
            process.terminate()
            process.wait(60)


def get(client: httpx.Client, path: str, **headers: str) -> httpx.Response:
    return client.get(path, headers=headers, extensions={"sni_hostname": HOST})


def shows_the_page(client: httpx.Client) -> None:
    """The page and what it names come through, compressed, and are known by their ETags."""
    page = get(client, "/")
    assert page.status_code == 200
    paths = ["/", *(f"/{name}" for name in re.findall(r'(?:src|href)="(page-[^"]+)"', page.text))]
    assert len(paths) == 3
    for path in paths:
        answer = get(client, path)
        assert answer.headers["content-encoding"] == "gzip"
        again = get(client, path, **{"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


def passes_bodies_of_up_to_16_mb(client: httpx.Client) -> None:
    for size, status in ((10, 422), (20, 413)):
        body = b"x" * (size * 2**20)
        answer = client.post("/v1/search", content=body, extensions={"sni_hostname": HOST})
        assert answer.status_code == status


@pytest.fixture
def service(cats: Dataset, clip: Clip) -> Iterator[Live]:
    with live(cats, clip=clip, hosts=(HOST,)) as running:
        yield running


def test_nginx(service: Live, tmp_path: Path) -> None:
    program, port = needed("nginx"), free_port()
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}"]
    subprocess.run(
        [*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    block_here = block("limit_req_zone")
    for there, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/cats.pem", str(certificate)),
        ("/etc/ssl/cats.key", str(key)),
        ("127.0.0.1:1234", f"127.0.0.1:{service.port}"),
    ):
        assert there in block_here
        block_here = block_here.replace(there, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""  # who owns the folder
    (tmp_path / "nginx.conf").write_text(
        f"{user}daemon off;\npid {tmp_path}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{block_here}}}\n"
    )
    command = [program, "-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]
    with proxy(command, port, tmp_path / "log") as client:
        shows_the_page(client)
        passes_bodies_of_up_to_16_mb(client)
        pictures = [get(client, f"/v1/thumbnails/cats/{KEYS[0]}").status_code for _ in range(60)]
        assert set(pictures) == {200}
        data = [get(client, "/v1/datasets").status_code for _ in range(120)]
        assert set(data) == {200, 429}
        assert get(client, "/").status_code == 200  # the page itself has no rate


@pytest.mark.slow  # .ci/run installs nginx alone
def test_caddy(service: Live, tmp_path: Path) -> None:
    program, port = needed("caddy"), free_port()
    told = block(HOST)
    assert "127.0.0.1:1234" in told
    told = told.replace("127.0.0.1:1234", f"127.0.0.1:{service.port}")
    told = told.replace(f"{HOST} {{", f"https://{HOST}:{port} {{\n    tls internal", 1)
    own = "admin off\nskip_install_trust\nauto_https disable_redirects\nlocal_certs\n"
    (tmp_path / "Caddyfile").write_text(f"{{\n{own}}}\n{told}")
    command = [program, "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with proxy(command, port, tmp_path / "log", **home) as client:
        shows_the_page(client)
        passes_bodies_of_up_to_16_mb(client)


@pytest.mark.slow  # .ci/run installs nginx alone
def test_systemd(tmp_path: Path) -> None:
    program = needed("systemd-analyze")
    unit = block("[Unit]")
    assert "/opt/frenchcat/bin/frenchcat" in unit
    file = tmp_path / "frenchcat.service"
    file.write_text(unit.replace("/opt/frenchcat/bin/frenchcat", sys.executable))
    done = subprocess.run([program, "verify", str(file)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "frenchcat.service" in line]
    assert (done.returncode, said) == (0, [])
