import functools
import http.server
import io
import os
import socket
import tarfile
import threading
import urllib.error
import urllib.request

import pytest
from PIL import Image
from torchvision.datasets import FGVCAircraft, Food101

from pipeline.data.sources import read_source, torchvision_sets
from pipeline.errors import DataError
from pipeline.params import Prepare

BASE = "fgvc-aircraft-2013b/data"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Where to fetch an archive in the published layout, two images a split."""
    files = {f"{BASE}/variants.txt": b"A300\nYak-42\n"}
    for number, split in enumerate(("train", "val", "test", "trainval")):
        rows = [(f"{number}{row}", variant) for row, variant in enumerate(("A300", "Yak-42"))]
        table = "".join(f"{name} {variant}\n" for name, variant in rows)
        files[f"{BASE}/images_variant_{split}.txt"] = table.encode()
        for name, _ in rows:
            image = io.BytesIO()
            Image.new("RGB", (4, 4)).save(image, "JPEG")
            files[f"{BASE}/images/{name}.jpg"] = image.getvalue()
    (tmp_path / "site").mkdir()
    with tarfile.open(tmp_path / "site" / "fgvc-aircraft-2013b.tar.gz", "w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    monkeypatch.setenv("no_proxy", "*")
    handler = functools.partial(Site, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/fgvc-aircraft-2013b.tar.gz"
        server.shutdown()


class Site(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def read(folder, **options):
    return read_source(Prepare(source="fgvc_aircraft", path=str(folder), **options))


def test_a_set_is_fetched_once_and_then_read_from_its_folder(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(FGVCAircraft, "_URL", archive)
    root = tmp_path / "sets" / "new"
    source = read(root, download=True)
    assert len(source.samples) == 6
    monkeypatch.setattr(FGVCAircraft, "_URL", "http://127.0.0.1:9/gone.tar.gz")
    assert read(root, download=True) == read(root) == source


def test_nothing_is_downloaded_by_default(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(FGVCAircraft, "_URL", archive)
    with pytest.raises(DataError, match=r"FGVCAircraft .*set prepare\.download to true"):
        read(tmp_path / "sets")
    assert not (tmp_path / "sets").exists()


def test_offline_the_message_keeps_the_set_and_the_reason(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(DataError) as caught:
        read_source(Prepare(source="food101", path=str(tmp_path), download=True))
    message = str(caught.value)
    assert "Food101 cannot be downloaded" in message
    assert "Temporary failure in name resolution" in message
    assert "\n" not in message


def test_a_download_that_is_not_the_published_archive_is_refused(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(Food101, "_URL", archive)
    with pytest.raises(DataError, match=r"Food101 cannot be downloaded .*not found or corrupted"):
        read_source(Prepare(source="food101", path=str(tmp_path / "sets"), download=True))


@pytest.mark.timeout(20)
def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision_sets, "TIMEOUT_S", 0.2)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/archive.tar.gz"
        monkeypatch.setattr(FGVCAircraft, "_URL", url)
        with pytest.raises(DataError, match=r"FGVCAircraft cannot be downloaded \(.*timed out"):
            read(tmp_path / "sets", download=True)
    assert socket.getdefaulttimeout() == before


@pytest.mark.timeout(20)
def test_a_pipe_among_the_published_files_is_refused_without_waiting(tmp_path):
    (tmp_path / BASE).mkdir(parents=True)
    os.mkfifo(tmp_path / BASE / "variants.txt")
    with pytest.raises(DataError, match=r"variants\.txt: is not a regular file"):
        read(tmp_path)
