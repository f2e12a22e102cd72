"""Downloads against a small server on this machine, readers against bytes made by hand."""
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from minidalle import download
from minidalle.download import (
    DataError,
    DataFile,
    checkout,
    data_folder,
    fetch,
    parse_cifar10,
    parse_idx,
    read_cifar10,
    read_mnist,
)

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `files`; notes each (path, Range) in `requests`; breaks off after `cut` bytes."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.cut, self.ranges = files, [], None, True

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range", "bytes=0-")
        self.server.requests.append((self.path, asked))
        body = self.server.files.get(self.path)
        if body is None:
            return self.send_error(404)
        if self.server.ranges:
            body = body[int(asked.removeprefix("bytes=").rstrip("-")):]
        self.send_response(206 if self.server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:self.server.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "TIMEOUT", 5)
    with Server({"/good": CONTENT, "/bad": CONTENT[::-1], "/page": b"please log in"}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def described(*mirrors, content=CONTENT, name="file.bin"):
    return DataFile(name, len(content), hashlib.md5(content).hexdigest(), mirrors)


def closed(name="file.bin"):
    """A file whose only mirror is a port on which nothing listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    return described(f"http://127.0.0.1:{port}/good", name=name)


def asks(error, file):
    """The sentence names the file, its bytes, its checksum, and the way out by hand."""
    text = str(error.value)
    assert "\n" not in text
    return all(word in text for word in
               (file.name, f"{file.size:,} bytes", file.md5, "by hand", "MINIDALLE_DATA"))


# ---- fetching ----

def test_fetch_brings_the_bytes_of_the_server_and_leaves_no_other_file(server, tmp_path):
    path = fetch(described(server.url("/good")), tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file.bin"]


def test_fetch_of_a_file_that_is_there_asks_no_server(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert fetch(described(server.url("/good")), tmp_path) == tmp_path / "file.bin"
    assert server.requests == []


def test_fetch_of_a_partial_file_asks_the_server_only_for_the_rest(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(described(server.url("/good")), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=1000-")]


def test_fetch_resumes_also_where_the_server_sends_the_whole_file_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(described(server.url("/good")), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_fetch_goes_on_where_a_broken_connection_stopped(server, tmp_path):
    server.cut = 4000
    assert fetch(described(server.url("/good")), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["bytes=0-", "bytes=4000-", "bytes=8000-"]


def test_fetch_of_a_complete_partial_file_asks_no_server(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(described(server.url("/good")), tmp_path).read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT[::-1], CONTENT + b"x"])
def test_fetch_starts_again_after_a_partial_file_of_other_bytes(server, tmp_path, left):
    (tmp_path / "file.bin.part").write_bytes(left)
    assert fetch(described(server.url("/good")), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("first", ["/nothing", "/page", "/bad"])
def test_fetch_takes_the_second_mirror_when_the_first_fails(server, tmp_path, first):
    """Not there; a login page in its place; other bytes of the right number."""
    file = described(server.url(first), server.url("/good"))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == [first, "/good"]


def test_fetch_of_wrong_bytes_leaves_nothing_behind(server, tmp_path):
    file = described(server.url("/bad"))
    with pytest.raises(DataError, match="sent bytes of another checksum") as error:
        fetch(file, tmp_path)
    assert asks(error, file) and os.listdir(tmp_path) == []


@pytest.mark.parametrize("content, came", [(CONTENT[:99], "has 99 bytes"), (b"", "has 0 bytes"),
                                           (CONTENT[::-1], "has md5"),
                                           (CONTENT + b"x", "has more bytes")])
def test_fetch_never_overwrites_a_wrong_file_that_lies_there(server, tmp_path, content, came):
    (tmp_path / "file.bin").write_bytes(content)
    file = described(server.url("/good"))
    with pytest.raises(DataError, match=came) as error:
        fetch(file, tmp_path)
    assert asks(error, file) and (tmp_path / "file.bin").read_bytes() == content
    assert server.requests == []


def test_fetch_without_a_network_says_what_was_wanted_and_what_came(tmp_path):
    file = closed()
    with pytest.raises(DataError, match="no mirror delivered it.*refused") as error:
        fetch(file, tmp_path)
    assert asks(error, file) and file.mirrors[0] in str(error.value)
    assert os.listdir(tmp_path) == []


def test_fetch_into_a_folder_that_is_a_file_is_one_sentence(server, tmp_path):
    (tmp_path / "data").write_bytes(b"in the way")
    file = described(server.url("/good"))
    with pytest.raises(DataError, match="cannot be stored") as error:
        fetch(file, tmp_path / "data")
    assert asks(error, file)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_fetch_onto_a_full_disk_is_one_sentence(server, tmp_path):
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    file = described(server.url("/good"))
    with pytest.raises(DataError, match="cannot be stored.*No space left") as error:
        fetch(file, tmp_path)
    assert asks(error, file) and len(server.requests) == 1


def test_the_data_folder_is_that_of_the_variable_or_beside_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDALLE_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("MINIDALLE_DATA", "")
    assert data_folder() == Path(download.__file__).resolve().parents[1] / "data"


def test_a_package_without_its_repository_keeps_data_in_the_current_folder(monkeypatch, tmp_path):
    """And not among the installed packages, where nobody would look for 170 MB."""
    monkeypatch.setattr(download, "__file__", str(tmp_path / "site" / "minidalle" / "download.py"))
    monkeypatch.delenv("MINIDALLE_DATA", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert checkout() is None and data_folder() == tmp_path / "work" / "data"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyproject.toml").touch()
    assert checkout() == tmp_path / "site" and data_folder() == tmp_path / "site" / "data"


# ---- MNIST ----

def test_parse_idx_reads_a_file_made_by_hand():
    header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3])
    expected = torch.tensor([[[1, 2, 3]], [[4, 5, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(parse_idx(header + bytes([1, 2, 3, 4, 5, 255])), expected)
    assert parse_idx(bytes([0, 0, 8, 1, 0, 0, 1, 2]) + bytes(258)).shape == (258,)


@pytest.mark.parametrize("raw, said", [
    (b"", "got 0 bytes"),
    (bytes([0, 0, 8, 3, 0, 0]), "got 6 bytes"),
    (bytes([0, 0, 13, 1, 0, 0, 0, 1, 7]), "begin with '00000d01'"),
    (bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8]), "got 2 entries, expected 3"),
    (bytes([0, 0, 8, 1, 0, 0, 0, 1, 7, 8]), "got 2 entries, expected 1"),
])
def test_parse_idx_refuses_another_magic_number_or_count(raw, said):
    with pytest.raises(ValueError, match=said):
        parse_idx(raw)


def idx(tensor):
    sizes = b"".join(size.to_bytes(4, "big") for size in tensor.shape)
    raw = bytes([0, 0, 8, tensor.dim()]) + sizes + bytes(tensor.flatten().tolist())
    return gzip.compress(raw)


def put_mnist(folder, monkeypatch, images, labels):
    """Lay out a tiny MNIST whose sizes and checksums stand in the table, with no mirror."""
    folder.mkdir(exist_ok=True)
    pair = tuple(described("http://127.0.0.1:9/", content=idx(tensor), name=f"{kind}.gz")
                 for kind, tensor in (("images", images), ("labels", labels)))
    for file, tensor in zip(pair, (images, labels)):
        (folder / file.name).write_bytes(idx(tensor))
    monkeypatch.setattr(download, "MNIST", {"train": pair})


@pytest.mark.parametrize("place", [".", "mnist"])
def test_read_mnist_is_the_inverse_of_writing_idx(tmp_path, monkeypatch, place):
    images = torch.randint(256, (5, 28, 28), generator=torch.Generator().manual_seed(0))
    put_mnist(tmp_path / place, monkeypatch, images, torch.arange(5))
    read = read_mnist("train", tmp_path)
    torch.testing.assert_close(read[0], images.to(torch.uint8))
    torch.testing.assert_close(read[1], torch.arange(5))


@pytest.mark.parametrize("shape", [(5, 28, 28), (4, 27, 28), (4,)])
def test_read_mnist_refuses_images_that_do_not_fit_four_labels(tmp_path, monkeypatch, shape):
    put_mnist(tmp_path / "mnist", monkeypatch, torch.zeros(shape).long(), torch.arange(4))
    with pytest.raises(ValueError, match="two files of one split"):
        read_mnist("train", tmp_path)


@pytest.mark.parametrize("read", [read_mnist, read_cifar10])
def test_an_unknown_split_is_named_with_those_there_are(read, tmp_path):
    with pytest.raises(ValueError, match="'unseen', expected one of train, test"):
        read("unseen", tmp_path)


# ---- CIFAR-10 ----

def test_parse_cifar10_lays_red_green_and_blue_planes_row_by_row():
    """Record 1: label 7, red all 200, green all 100, blue counts its row."""
    blue = bytes(row for row in range(32) for _ in range(32))
    raw = bytes(3073) + bytes([7]) + bytes([200]) * 1024 + bytes([100]) * 1024 + blue
    images, labels = parse_cifar10(raw)
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.uint8
    assert labels.tolist() == [0, 7] and not images[0].any()
    assert (images[1, 0] == 200).all() and (images[1, 1] == 100).all()
    assert (images[1, 2] == torch.arange(32).view(32, 1)).all()


@pytest.mark.parametrize("raw, said", [(bytes(3072), "got 3072 bytes"), (b"", "got 0 bytes"),
                                       (bytes([10]) + bytes(3072), "label 10")])
def test_parse_cifar10_refuses_broken_records_and_labels_above_nine(raw, said):
    with pytest.raises(ValueError, match=said):
        parse_cifar10(raw)


TINY = {f"data_batch_{i}.bin": bytes([i]) + bytes([10 * i]) * 3072 for i in range(1, 6)}
TINY["test_batch.bin"] = bytes([9]) + bytes([90]) * 3072
FIRST = bytes([8]) + bytes([80]) * 3072


@pytest.fixture
def cifar(monkeypatch, server):
    """A CIFAR-10 of one record in each batch; its archive is at /cifar on the server."""
    files = {name: described(server.url("/cifar"), content=raw, name=name)
             for name, raw in TINY.items()}
    test = replace(files.pop("test_batch.bin"), md5="")
    monkeypatch.setattr(download, "CIFAR10", {"train": tuple(files.values()), "test": (test,)})
    monkeypatch.setattr(download, "FIRST1000", described(content=FIRST, name="first1000.bin"))
    serve_archive(server, monkeypatch, TINY)


def serve_archive(server, monkeypatch, contents, extra=()):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
        for name, raw in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    server.files["/cifar"] = content = stream.getvalue()
    monkeypatch.setattr(download, "ARCHIVE", described(server.url("/cifar"), content=content,
                                                       name="cifar.tar.gz"))


def put_cifar(folder, contents):
    folder.mkdir(parents=True)
    for name, raw in contents.items():
        (folder / name).write_bytes(lzma.compress(raw) if name.endswith(".xz") else raw)


@pytest.mark.parametrize("place, end", [("cifar-10-batches-bin", ""), ("cifar10", ".xz")])
def test_read_cifar10_reads_each_batch_once_and_in_order(cifar, server, tmp_path, place, end):
    put_cifar(tmp_path / place, {name + end: raw for name, raw in TINY.items()})
    images, labels = read_cifar10("train", tmp_path)
    assert labels.tolist() == [1, 2, 3, 4, 5]
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30, 40, 50]
    assert read_cifar10("test", tmp_path)[1].tolist() == [9]
    assert server.requests == []


def test_read_cifar10_fetches_the_archive_once_and_gives_the_same_batches(cifar, server, tmp_path):
    assert read_cifar10("train", tmp_path)[1].tolist() == [1, 2, 3, 4, 5]
    assert read_cifar10("test", tmp_path)[1].tolist() == [9]
    assert len(server.requests) == 1


@pytest.mark.parametrize("split, gone", [("train", "data_batch_3.bin"), ("test", "test_batch.bin")])
def test_read_cifar10_names_the_batch_that_is_missing(cifar, server, tmp_path, split, gone):
    some = {name: raw for name, raw in TINY.items() if name != gone}
    put_cifar(tmp_path / "cifar10", some)
    with pytest.raises(DataError, match=f"wanted {gone} .* there is only data_batch_1.bin, "):
        read_cifar10(split, tmp_path)
    assert server.requests == []


def test_read_cifar10_says_when_a_thousand_pictures_stand_in_for_the_test_set(cifar, tmp_path):
    put_cifar(tmp_path / "cifar10", {"first1000.bin.xz": FIRST})
    with pytest.warns(UserWarning, match="test_batch.bin is not there"):
        assert read_cifar10("test", tmp_path)[1].tolist() == [8]


def test_read_cifar10_takes_the_whole_test_set_where_both_are_there(cifar, tmp_path, recwarn):
    put_cifar(tmp_path / "cifar10", {"first1000.bin": FIRST, **TINY})
    assert read_cifar10("test", tmp_path)[1].tolist() == [9] and not recwarn


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-9], lambda raw: raw[::-1], lambda raw: b""])
def test_read_cifar10_refuses_a_truncated_or_spoilt_xz(cifar, tmp_path, spoil):
    put_cifar(tmp_path / "cifar10", {name + ".xz": raw for name, raw in TINY.items()})
    path = tmp_path / "cifar10" / "data_batch_4.bin.xz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match="data_batch_4.bin.xz cannot be read"):
        read_cifar10("train", tmp_path)


def test_read_cifar10_refuses_a_batch_with_one_wrong_byte(cifar, tmp_path):
    put_cifar(tmp_path / "cifar10", TINY)
    (tmp_path / "cifar10" / "data_batch_2.bin").write_bytes(TINY["data_batch_2.bin"][:-1] + b"!")
    with pytest.raises(DataError, match="data_batch_2.bin there has md5"):
        read_cifar10("train", tmp_path)


@pytest.mark.parametrize("records", [0, 2])
def test_read_cifar10_refuses_a_test_set_of_another_size(cifar, tmp_path, records):
    """The one batch whose checksum is not in the table."""
    put_cifar(tmp_path / "cifar10", {"test_batch.bin": TINY["test_batch.bin"] * records})
    with pytest.raises(DataError, match="test_batch.bin there has"):
        read_cifar10("test", tmp_path)


def test_evil_members_of_an_archive_write_nothing_and_are_not_followed(
        cifar, server, tmp_path, monkeypatch):
    outside = tarfile.TarInfo("../outside.bin")
    outside.size = 5
    absolute = tarfile.TarInfo(str(tmp_path / "absolute.bin"))
    absolute.size = 5
    serve_archive(server, monkeypatch, TINY, extra=[outside, absolute])
    assert read_cifar10("train", tmp_path / "data")[1].tolist() == [1, 2, 3, 4, 5]
    assert os.listdir(tmp_path) == ["data"] and os.listdir(tmp_path / "data") == ["cifar.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_the_place_of_a_batch_is_refused(cifar, server, tmp_path, monkeypatch, kind):
    link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    link.type, link.linkname = kind, "cifar-10-batches-bin/data_batch_2.bin"
    others = {name: raw for name, raw in TINY.items() if name != "data_batch_1.bin"}
    serve_archive(server, monkeypatch, others, extra=[link])
    with pytest.raises(DataError, match="data_batch_1.bin .* archive lacks it"):
        read_cifar10("train", tmp_path)


# ---- the real files, where they are at hand ----

def real(*names):
    """The folder with one of these files in it; the test is skipped where there is none."""
    folders = (data_folder(), Path(__file__).resolve().parents[2] / "shared" / "data")
    for folder in folders:
        if any((folder / name).exists() for name in names):
            return folder
    pytest.skip(f"{names[0]} is neither in data/, in MINIDALLE_DATA nor in ../shared/data")


@pytest.mark.parametrize("split, prefix, counts", [
    ("train", "train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
    ("test", "t10k", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
])
def test_real_mnist_has_the_official_count_of_each_digit(split, prefix, counts):
    images, labels = read_mnist(split, real(f"mnist/{prefix}-images-idx3-ubyte.gz"))
    assert images.shape == (sum(counts), 28, 28) and images.dtype == torch.uint8
    assert labels.dtype == torch.int64 and labels.bincount().tolist() == counts


@pytest.mark.filterwarnings("ignore:test_batch.bin is not there")
def test_real_cifar10_test_pictures_have_the_official_count_of_each_class():
    names = ("test_batch.bin", "test_batch_first1000.bin", "test_batch_first1000.bin.xz")
    homes = ("cifar-10-batches-bin", "cifar10")
    images, labels = read_cifar10("test", real(*(f"{h}/{n}" for h in homes for n in names)))
    first = [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]
    assert images.shape[1:] == (3, 32, 32) and labels[:1000].bincount().tolist() == first
    assert len(labels) == 1000 or labels.bincount().tolist() == [1000] * 10


def test_the_folder_of_a_user_who_does_not_exist_is_told(monkeypatch):
    monkeypatch.setenv("MINIDALLE_DATA", "~nosuchuser/data")
    with pytest.raises(DataError, match="MINIDALLE_DATA is '~nosuchuser/data', and there is no"):
        download.data_folder()


def test_a_pipe_in_a_data_files_place_is_refused_and_not_waited_for(tmp_path):
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="the train-images-idx3-ubyte.gz there is no file"):
        download.read_mnist("train", tmp_path)
