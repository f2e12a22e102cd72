"""Download: the official files of MNIST and CIFAR-10, checked byte for byte, as tensors.

in -> out   the name of a split -> images (N, 28, 28) or (N, 3, 32, 32) uint8, labels (N,) int64
idea        A file that lies in the data folder is used, wherever it came from; only a missing one
            is fetched. It arrives under another name, from one mirror after the other, each going
            on where the last broke off, and takes its real name only when size and checksum are
            right. Nothing that comes from the network is executed or unpickled.
equation    a file is right when len(bytes) and md5(bytes) are those of the table below
paper       LeCun et al. 1998, "Gradient-based learning applied to document recognition";
            Krizhevsky 2009, "Learning multiple layers of features from tiny images"
left out    two processes that fetch the same file at once, signatures (md5 catches accidents only)
"""
import gzip
import hashlib
import lzma
import math
import os
import sys
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import torch
from torch import Tensor
from tqdm import tqdm

ROUNDS = 3              # times through the mirrors; each goes on where the last one stopped
TIMEOUT = 15            # seconds without a byte before the next mirror is tried
RECORD = 1 + 3 * 32**2  # bytes of a CIFAR-10 record: the label, then the red, green, blue planes


class DataError(ValueError):
    """A data file is missing, wrong, or cannot be stored; the message says how to put it right."""


@dataclass(frozen=True)
class DataFile:
    name: str
    size: int                  # bytes
    md5: str                   # "" where only the size is known
    mirrors: tuple[str, ...]   # tried in this order


def _mnist(name: str, size: int, md5: str) -> DataFile:
    homes = ("https://ossci-datasets.s3.amazonaws.com/mnist/",
             "https://storage.googleapis.com/cvdf-datasets/mnist/")
    return DataFile(name, size, md5, tuple(home + name for home in homes))


MNIST = {  # split -> images, labels
    "train": (_mnist("train-images-idx3-ubyte.gz", 9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
              _mnist("train-labels-idx1-ubyte.gz", 28881, "d53e105ee54ea40749a09fcbcd1e9432")),
    "test": (_mnist("t10k-images-idx3-ubyte.gz", 1648877, "9fb629c4189551a2d022fa330f9573f3"),
             _mnist("t10k-labels-idx1-ubyte.gz", 4542, "ec29112dd5afa0611ce80d1b7f02629c")),
}
ARCHIVE = DataFile("cifar-10-binary.tar.gz", 170052171, "c32a1d4ab5d03f1284b67883e8d87530",
                   ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",))
UNPACKED = "cifar-10-batches-bin"  # the folder in the archive


def _batch(name: str, md5: str, records: int = 10000) -> DataFile:
    return DataFile(name, records * RECORD, md5, ARCHIVE.mirrors)


CIFAR10 = {
    "train": (_batch("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
              _batch("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
              _batch("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
              _batch("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
              _batch("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d")),
    "test": (_batch("test_batch.bin", ""),),
}
FIRST1000 = _batch("test_batch_first1000.bin", "371f65da31ad652f5e24b3699a3e6515", 1000)


def checkout() -> Path | None:
    """The folder of the repository, if this package lies in one; None if it is installed alone."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").exists() else None


def data_folder() -> Path:
    """The folder MINIDALLE_DATA, or where that is not set the data/ of this checkout, or of the
    current folder: nothing is written among installed packages."""
    named = os.environ.get("MINIDALLE_DATA")
    try:
        return Path(named or (checkout() or Path.cwd()) / "data").expanduser()
    except RuntimeError as error:
        raise DataError(f"MINIDALLE_DATA is {named!r}, and there is no such user; set it to a "
                        "folder") from error


def read_mnist(split: str, folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, 28, 28) uint8 and labels (N,) int64 of "train" or "test".

    The files lie in FOLDER/mnist or FOLDER itself (default: data_folder()), or are fetched.
    """
    files, data = _files(MNIST, split), Path(folder or data_folder())
    homes = [data if os.path.exists(data / file.name) else data / "mnist" for file in files]
    images, labels = (parse_idx(gzip.decompress(fetch(file, home).read_bytes()))
                      for file, home in zip(files, homes))
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise DataError(f"got images {tuple(images.shape)} and labels {tuple(labels.shape)}, "
                        "expected (N, 28, 28) and (N,): use the two files of one split")
    return images, labels.long()


def read_cifar10(split: str, folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of "train" or "test".

    The batches, plain or as .xz, lie in FOLDER/cifar-10-batches-bin or FOLDER/cifar10, or are read
    from the archive in FOLDER, fetched where no batch is there at all. The first 1000 test pictures
    stand in for a missing 10000.
    """
    batches, data = _files(CIFAR10, split), Path(folder or data_folder())
    if split == "test" and not _find(data, batches[0]) and _find(data, FIRST1000):
        warnings.warn(f"{batches[0].name} is not there: the test set is the 1000 pictures of "
                      f"{FIRST1000.name}", stacklevel=2)
        batches = (FIRST1000,)
    missing = [batch for batch in batches if not _find(data, batch)]
    there = [file.name for files in CIFAR10.values() for file in files if _find(data, file)]
    if missing and there and not os.path.exists(data / ARCHIVE.name):
        raise _refusal(missing[0], data / UNPACKED, f"there is only {', '.join(there)}")
    raws = (_members(fetch(ARCHIVE, data), batches) if missing else
            [_read(_find(data, batch), batch) for batch in batches])
    images, labels = zip(*(parse_cifar10(raw) for raw in raws))
    return torch.cat(images), torch.cat(labels)


def parse_idx(raw: bytes) -> Tensor:
    """The uint8 tensor in an IDX file: 0, 0, 8 (uint8), dimensions, each size in 4 bytes, entries.

    parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])) -> tensor([7, 8, 9])
    """
    start = 4 + 4 * raw[3] if len(raw) > 3 else 4
    if raw[:3] != b"\0\0\x08" or len(raw) < start:
        raise DataError(f"got {len(raw)} bytes that begin with '{raw[:4].hex()}', expected an IDX "
                        "header (000008 and the sizes): check which file this is")
    shape = [int.from_bytes(raw[i:i + 4], "big") for i in range(4, start, 4)]
    if len(raw) - start != math.prod(shape):
        raise DataError(f"got {len(raw) - start} entries, expected {math.prod(shape)} for the IDX "
                        f"header {shape}: the file is cut short or spoilt, get it anew")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)[start:].reshape(shape)


def parse_cifar10(raw: bytes) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one batch in the binary layout."""
    if not raw or len(raw) % RECORD:
        raise DataError(f"got {len(raw)} bytes, expected a multiple of {RECORD} (a label and 3072 "
                        "pixel bytes a picture): use the binary version of CIFAR-10")
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(-1, RECORD)
    labels = records[:, 0].long()                                            # (N,)
    if labels.max() > 9:
        raise DataError(f"got the label {labels.max()}, expected 0..9: use CIFAR-10, not CIFAR-100")
    return records[:, 1:].reshape(-1, 3, 32, 32), labels                     # (N, 3, 32, 32), (N,)


def fetch(file: DataFile, folder: Path) -> Path:
    """The path of `file` in `folder`, checked; downloaded first where it is not there.

    A wrong file of that name is never overwritten: DataError says what was wanted and what came.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    if os.path.exists(path):
        _read(path, file)
        return path
    print(f"fetching {file.name} ({file.size:,} bytes) into {folder}", file=sys.stderr)
    trouble = {}                             # url -> what went wrong there last
    for url in file.mirrors * ROUNDS:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _append(part, url, file)
            _read(part, file)
            os.replace(part, path)
            return path
        except ConnectionError as error:     # keep the part: the next mirror goes on from there
            trouble[url] = error
        except DataError:                    # all bytes are there and wrong: start again
            part.unlink()
            trouble[url] = "sent bytes of another checksum"
        except OSError as error:
            raise _refusal(file, folder, f"it cannot be stored ({error})") from error
    if part.exists() and part.stat().st_size == 0:
        part.unlink()
    came = "; ".join(f"{url} {what}" for url, what in trouble.items())
    raise _refusal(file, folder, f"no mirror delivered it ({came})")


def _append(part: Path, url: str, file: DataFile) -> None:
    """Add what is missing to the end of a partly loaded file."""
    with open(part, "ab") as out, tqdm(total=file.size, initial=out.tell(), desc=file.name,
                                       unit="B", unit_scale=True, leave=False, disable=None) as bar:
        for block in _receive(url, out.tell(), file.size):
            out.write(block)
            bar.update(len(block))


def _receive(url: str, start: int, size: int) -> Iterator[bytes]:
    """The bytes start..size of a URL; ConnectionError whatever goes wrong on the way.

    Subtle: an error of the disk is an OSError too, but it is raised in the caller's loop and never
    enters this generator, so that the two stay apart.
    """
    if start >= size:
        return
    try:
        request = Request(url, headers={"Range": f"bytes={start}-", "User-Agent": "minidalle"})
        with urlopen(request, timeout=TIMEOUT) as response:
            begin = start if response.status == 206 else 0       # 200: the whole file comes
            offered = begin + int(response.headers.get("Content-Length", size - begin))
            if offered != size:                                  # a login page, another version
                raise OSError(f"{offered:,} bytes offered")
            response.read(start - begin)
            while start < size and (block := response.read(min(1 << 20, size - start))):
                start += len(block)
                yield block
    except (OSError, HTTPException) as error:
        raise ConnectionError(f"failed: {error}") from error
    if start < size:
        raise ConnectionError(f"failed: the connection closed after {start:,} bytes")


def _read(path: Path, file: DataFile) -> bytes:
    """The bytes of a file (a .xz is unpacked) when their number and checksum are the table's."""
    if not path.is_file():     # a pipe would be waited for without end
        raise _refusal(file, path.parent, f"the {path.name} there is no file")
    try:
        with (lzma.open if path.suffix == ".xz" else open)(path, "rb") as stream:
            raw = stream.read(file.size + 1)   # one more than wanted, so that a longer file shows
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise _refusal(file, path.parent, f"{path.name} cannot be read ({error})") from error
    md5 = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if len(raw) == file.size and md5 == (file.md5 or md5):
        return raw
    came = f"md5 {md5}" if len(raw) == file.size else (
        "more bytes" if len(raw) > file.size else f"{len(raw):,} bytes")
    raise _refusal(file, path.parent, f"the {path.name} there has {came} (delete it to retry)")


def _refusal(file: DataFile, folder: Path, came: str) -> DataError:
    md5 = f", md5 {file.md5}" if file.md5 else ""
    return DataError(f"wanted {file.name} ({file.size:,} bytes{md5}) in {folder}, but {came}: put "
                     f"it there by hand, from {file.mirrors[0]}, or set MINIDALLE_DATA to a folder "
                     "that has it")


def _files(table: dict[str, tuple[DataFile, ...]], split: str) -> tuple[DataFile, ...]:
    if split not in table:
        raise ValueError(f"got split {split!r}, expected one of {', '.join(table)}")
    return table[split]


def _find(data: Path, batch: DataFile) -> Path | None:
    """Where a CIFAR-10 batch lies, None where it does not."""
    paths = (data / home / f"{batch.name}{end}" for home in (UNPACKED, "cifar10")
             for end in ("", ".xz"))
    return next((path for path in paths if os.path.exists(path)), None)


def _members(archive: Path, batches: tuple[DataFile, ...]) -> list[bytes]:
    """The batches in the archive. Nothing is written, and no other member is looked at."""
    with tarfile.open(archive, "r:gz") as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()
                 and member.name in [f"{UNPACKED}/{batch.name}" for batch in batches]}
    for batch in batches:
        if len(found.get(f"{UNPACKED}/{batch.name}", b"")) != batch.size:
            raise _refusal(batch, archive, "the archive lacks it")
    return [found[f"{UNPACKED}/{batch.name}"] for batch in batches]
