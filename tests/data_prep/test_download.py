"""Downloads against a server on this machine that breaks, forgets and lies."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from codec.core.errors import UserError
from codec.data.manifest import read_manifest
from data_prep import download as downloads
from data_prep import librispeech
from data_prep.download import Archive, download, fetch_all, unpack
from tests.data_prep.test_corpora import write_librispeech

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@dataclass
class Server:
    """What is served, how it misbehaves, and the Range headers that came."""

    files: dict[str, bytes]
    break_after: int | None = None
    breaks_left: int = 0
    takes_ranges: bool = True
    ranges: list[str | None] = field(default_factory=list)
    address: str = ""

    def archive(self, name: str) -> Archive:
        return Archive(f"{self.address}/{name}", hashlib.sha256(self.files[name]).hexdigest())


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server({"a.bin": CONTENT})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = state.files.get(self.path.lstrip("/"))
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.takes_ranges else 0
            if start >= len(content):
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.breaks_left > 0:
                state.breaks_left -= 1
                body = body[: state.break_after]
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.address = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


def test_a_whole_download_is_checked_and_kept(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = download(server.archive("a.bin"), tmp_path / "new", progress=lambda *told: seen.append(told))
    assert path.read_bytes() == CONTENT and seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.bin"]
    download(server.archive("a.bin"), tmp_path / "new")
    assert server.ranges == [None]  # the second call asked for nothing


def test_a_broken_transfer_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks_left = 1_000_000, 2
    path = download(server.archive("a.bin"), tmp_path, patience_s=0.0)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=2000000-"]


def test_the_next_run_goes_on_where_the_last_one_died(server: Server, tmp_path: Path) -> None:
    server.break_after, server.breaks_left = 1_000_000, 1
    with pytest.raises(UserError, match="run again to go on"):
        download(server.archive("a.bin"), tmp_path, attempts=1)
    assert not (tmp_path / "a.bin").exists()
    assert download(server.archive("a.bin"), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_part_that_is_already_whole_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert download(server.archive("a.bin"), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.takes_ranges = False
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1_000_000])
    assert download(server.archive("a.bin"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("digest", [hashlib.md5, hashlib.sha256])
def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path, digest: type) -> None:
    wrong = Archive(f"{server.address}/a.bin", digest(b"other").hexdigest())
    with pytest.raises(UserError, match=f"has checksum {digest(CONTENT).hexdigest()}"):
        download(wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stale_part_is_found_out_and_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="run again"):
        download(server.archive("a.bin"), tmp_path)
    assert download(server.archive("a.bin"), tmp_path).read_bytes() == CONTENT


def test_a_refusal_is_one_line_and_not_repeated(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="404") as error:
        download(Archive(f"{server.address}/b.bin", "0" * 64), tmp_path)
    assert server.ranges == [None] and "\n" not in str(error.value)


def test_an_unreachable_server_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot fetch"):
        download(Archive("http://127.0.0.1:9/a.bin", "0" * 64), tmp_path, attempts=2, patience_s=0.0)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_archives_are_unpacked_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("deep/a.txt", "hello")
    else:
        with tarfile.open(path, "w:gz") as file:
            info = tarfile.TarInfo("deep/a.txt")
            info.size = 5
            file.addfile(info, io.BytesIO(b"hello"))
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "a.txt").read_text() == "hello"
    path.write_bytes(b"")
    unpack(path, tmp_path / "out")


def test_a_member_that_points_outside_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.addfile(tarfile.TarInfo("../escaped.txt"), io.BytesIO())
    with pytest.raises(UserError, match="cannot unpack"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "escaped.txt").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b" + b"nonsense" * 9)
    with pytest.raises(UserError, match="cannot unpack"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_corpus_is_fetched_unpacked_and_prepared(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_librispeech(tmp_path / "tree")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        file.add(tmp_path / "tree" / "LibriSpeech" / "dev-clean", "LibriSpeech/dev-clean")
    server.files["dev-clean.tar.gz"] = packed.getvalue()
    monkeypatch.setitem(librispeech.ARCHIVES, "dev-clean", server.archive("dev-clean.tar.gz"))
    labels: list[str | None] = []

    def progress(done: int, total: int | None = None, /, *, label: str | None = None) -> None:
        labels.append(label)

    report = librispeech.prepare(
        tmp_path / "source", tmp_path / "out", download=True, subsets=["dev-clean"], progress=progress
    )
    assert list(dict.fromkeys(labels)) == ["fetching dev-clean.tar.gz (MB)", None]  # then the files are looked at
    assert report.splits == {"validation": 2} and len(read_manifest(report.manifest)) == 2


def test_published_checksums_are_of_a_known_kind() -> None:
    from data_prep import cifar10, ljspeech, vctk

    for archive in [*librispeech.ARCHIVES.values(), *cifar10.ARCHIVES, *ljspeech.ARCHIVES, *vctk.ARCHIVES]:
        assert len(archive.checksum) in downloads._HASH_OF_LENGTH and archive.url.startswith("https://")
    assert fetch_all([], Path("nowhere")) is None
