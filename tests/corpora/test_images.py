from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rnntk.corpora import images, registry
from rnntk.corpora.card import Card, CardSource
from rnntk.errors import CorpusError, DataError, UsageError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
NAMES = (*NAMES, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def small_set() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, 20, np.uint8),
        "x_test": rng.integers(0, 256, (10, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, 10, np.uint8),
    }


def idx(array: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture
def card() -> Card:
    hashes = [(name, hashlib.sha256(a.tobytes()).hexdigest()) for name, a in small_set().items()]
    return Card(
        "mnist", (), title="MNIST", kind="images", files=("mnist.npz",), arrays=tuple(hashes)
    )


@pytest.fixture
def folder(alone: Path) -> Path:
    path = alone / "data" / "mnist"
    path.mkdir(parents=True)
    return path


def load(card: Card) -> images.ImageSet:
    return images.load_images(registry.resolve(card, offline=True))


def same(found: images.ImageSet) -> bool:
    return all(np.array_equal(getattr(found, name), array) for name, array in small_set().items())


def test_npz_is_read_stored_or_compressed(folder, card):
    for save in (np.savez, np.savez_compressed):
        save(folder / "mnist.npz", **small_set())
        assert same(load(card))


@pytest.mark.parametrize("form", ["plain", "gz", "point"])
def test_idx_files_are_read(folder, card, form):
    for name, array in zip(NAMES, small_set().values(), strict=True):
        if form == "gz":
            (folder / (name + ".gz")).write_bytes(gzip.compress(idx(array)))
        else:
            (folder / (name.replace("-idx", ".idx") if form == "point" else name)).write_bytes(
                idx(array)
            )
    resolved = registry.resolve(card, offline=True)
    assert resolved.path == Path("data") / "mnist"
    assert resolved.bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert same(images.load_images(resolved))


def test_three_idx_files_are_not_complete(folder, card):
    for name, array in list(zip(NAMES, small_set().values(), strict=True))[:3]:
        (folder / name).write_bytes(idx(array))
    with pytest.raises(CorpusError, match=r"no file mnist\.npz"):
        load(card)


@pytest.mark.parametrize("name", ARRAYS)
def test_one_changed_value_is_detected(folder, card, name):
    arrays = small_set()
    arrays[name].flat[3] ^= 1
    np.savez(folder / "mnist.npz", **arrays)
    before = (folder / "mnist.npz").read_bytes()
    with pytest.raises(DataError, match=f"is not MNIST: the SHA-256 of {name} is"):
        load(card)
    assert (folder / "mnist.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.pop("y_test"), "has no array y_test"),
        (lambda a: a.update(x_train=a["x_train"][:, :27]), r"x_train must be uint8 \(N, 28, 28\)"),
        (lambda a: a.update(y_train=a["y_train"][:5]), r"y_train uint8 \(N,\)"),
        (lambda a: a.update(x_test=a["x_test"] / 255), "not float64"),
        (lambda a: a.update(y_test=a["y_test"] + 10), "labels are 0 to 9"),
        (
            lambda a: a.update(x_train=np.array([{}])),
            "is not an .npz file of numbers, or it is damaged",
        ),
    ],
)
def test_other_arrays_are_refused(folder, card, spoil, message):
    arrays = small_set()
    spoil(arrays)
    np.savez(folder / "mnist.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(replace(card, arrays=()))


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 cut", b"\x93NUMPY\1\0 cut"])
def test_a_broken_file_is_reported_and_kept(folder, card, data):
    (folder / "mnist.npz").write_bytes(data)
    path = Path("data", "mnist", "mnist.npz")
    with pytest.raises(DataError) as error:
        load(card)
    assert str(error.value) == (
        f"{path} is not an .npz file of numbers, or it is damaged. "
        "Replace it, or move it away to download it again."
    )
    assert (folder / "mnist.npz").read_bytes() == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\x0d\x01\0\0\0\0", "is not an IDX file"),
        (b"\0\0\x08", "is not an IDX file"),
        (b"\0\0\x08\0", "is not an IDX file"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "is not an IDX file"),
        (
            b"\0\0\x08\3" + b"\x80\0\0\0" * 2 + b"\0\0\0\4",
            "should hold [0-9,]{26} values; the limit",
        ),
        (idx(np.zeros(5, np.uint8))[:-1], "should hold 5 values after its header, not 4"),
    ],
)
def test_a_broken_idx_file_is_reported(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=message):
        images.read_idx(tmp_path / "a")
    (tmp_path / "a.gz").write_bytes(data)  # the content decides, not the name
    with pytest.raises(DataError, match=message):
        images.read_idx(tmp_path / "a.gz")
    (tmp_path / "b").write_bytes(gzip.compress(data))
    with pytest.raises(DataError, match=message):
        images.read_idx(tmp_path / "b")


def test_a_truncated_idx_file_is_reported(tmp_path):
    whole = gzip.compress(idx(np.zeros(5000, np.uint8)))
    (tmp_path / "b.gz").write_bytes(whole[:-9])
    message = r"b\.gz is not an IDX file, or it is damaged\. Replace it, or move it away"
    with pytest.raises(DataError, match=message):
        images.read_idx(tmp_path / "b.gz")


def test_an_image_file_that_cannot_be_opened_is_reported(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file or directory"):
        images.read_idx(tmp_path / "missing")


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "array",
    [
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,)}", b"x"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-5,)}", b"x" * 5),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x"),
        npy("{'descr': [['a']], 'shape': 3}"),
        npy("(" * 5000),
        b"no array",
        b"\x93NUMPY\\9\\9",
        b"",
    ],
    ids=range(8),
)
def test_a_hostile_npz_is_refused(folder, card, array):
    with zipfile.ZipFile(folder / "mnist.npz", "w") as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", array)
    with pytest.raises(DataError, match=r"mnist\.npz"):
        load(replace(card, arrays=()))


def test_images_too_large_when_unpacked_are_refused(folder, card, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 10_000)
    np.savez_compressed(folder / "mnist.npz", **small_set())
    with pytest.raises(DataError, match="over 10,000 bytes unpacked"):
        load(card)
    (folder / "a.gz").write_bytes(gzip.compress(idx(np.zeros(20_000, np.uint8))))
    with pytest.raises(DataError, match="20,000 values; the limit is 10,000"):
        images.read_idx(folder / "a.gz")


def test_an_unpacked_idx_file_named_gz_is_read(tmp_path):
    (tmp_path / "a.gz").write_bytes(idx(np.arange(6, dtype=np.uint8)))
    assert images.read_idx(tmp_path / "a.gz").tolist() == [0, 1, 2, 3, 4, 5]


def test_the_copy_of_keras_is_read_in_place(alone, card, bare_machine):
    path = bare_machine.keras_home / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, **small_set())
    keras = replace(card, sources=(CardSource("system", "keras_mnist"),))
    assert registry.availability(keras, machine=bare_machine).detail == str(path)
    found = registry.resolve(keras, machine=bare_machine)
    assert (found.source, found.path) == ("system", path)
    assert same(images.load_images(found))
    assert not (alone / "cache").exists()


def test_without_mnist_digits_are_drawn_with_a_warning(alone, bare_machine):
    found = registry.resolve_images(None, offline=True, machine=bare_machine)
    assert found.card.name == "digits"
    assert found.detail.startswith(
        "Using digits drawn by rnntk, because MNIST is not on this machine"
    )
    assert "Accuracies do not compare with MNIST's" in found.detail
    drawn = images.load_images(found)
    assert "not MNIST" in drawn.title
    assert found.card.arrays == ()
    assert drawn.x_train.shape == (10_000, 28, 28)
    assert drawn.x_test.shape == (2_000, 28, 28)


def test_mnist_requested_by_name_is_not_replaced(alone, bare_machine):
    with pytest.raises(CorpusError, match="Available without the network: digits"):
        registry.resolve_images("mnist", offline=True, machine=bare_machine)


def test_a_named_folder_may_hold_the_images_itself(folder, card, bare_machine):
    """Its subfolder comes first; a folder that nobody named is not searched like this."""
    for name, array in zip(NAMES, small_set().values(), strict=True):
        (folder / name).write_bytes(idx(array))
    where = {"offline": True, "machine": bare_machine}
    assert registry.resolve(card, data_dir=folder, **where).path == folder
    assert registry.availability(card, data_dir=folder, machine=bare_machine).detail == str(folder)
    np.savez(folder / "mnist.npz", **small_set())
    found = registry.resolve(card, data_dir=folder, **where)
    assert (found.path, found.source) == (folder / "mnist.npz", "data-dir")
    assert same(images.load_images(found))
    np.savez(Path("data", "mnist.npz"), **small_set())
    found = registry.resolve(card, data_dir=Path("data"), **where)
    assert found.path == Path("data", "mnist", "mnist.npz")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match=r"no file mnist\.npz"):
        registry.resolve(card, **where)
    with pytest.raises(CorpusError, match="^digits is not available"):
        registry.resolve(replace(card, name="digits", arrays=()), data_dir=Path("data"), **where)


@pytest.mark.parametrize("form", ["npz", "idx"])
def test_the_images_of_a_run_are_found_again(alone, form):
    path = alone / "there" / "small.npz" if form == "npz" else alone / "there"
    (alone / "there").mkdir()
    if form == "npz":
        np.savez(path, **small_set())
    else:
        for name, array in zip(NAMES, small_set().values(), strict=True):
            (path / name).write_bytes(idx(array))
    source = CardSource("file" if form == "npz" else "data-dir", str(path))
    card = Card("digits", (source,), kind="images", files=("small.npz",))
    record = {**registry.resolve(card).to_json(), "name": "digits"}
    found = registry.resolve_recorded(record)
    assert (found.path, found.sha256) == (path, record["sha256"])
    assert same(images.load_images(found))
    for wrong in ({"sha256": "0" * 64}, {"path": None}, {"path": "x" * 5000}, {"path": "\0"}):
        with pytest.raises(CorpusError, match=r"^mnist is not available\. Tried:"):
            registry.resolve_recorded({**record, "name": "mnist", **wrong})
    for name in ("linux_kernel", "./card.toml", None):
        with pytest.raises(CorpusError, match=f"There is no image set {name}; the image sets are"):
            registry.resolve_recorded({**record, "name": name})


def test_a_text_corpus_is_refused_as_images(alone):
    with pytest.raises(
        UsageError, match="linux_kernel is a text; the image sets are mnist and digits"
    ):
        registry.resolve_images("linux_kernel")


@pytest.mark.skipif(not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: mnist/mnist.npz")
def test_the_real_mnist():
    resolved = registry.resolve_images("mnist", offline=True)
    assert len(resolved.card.arrays) == 4, "each is checked"
    found = images.load_images(resolved)
    assert np.bincount(found.y_train).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert found.x_test.shape == (10_000, 28, 28)


def drawn_seven(mode: str = "L", paper: object = 255, ink: object = 0) -> Image.Image:
    """A 7 on a page of 240 x 300 pixels."""
    picture = Image.new(mode, (240, 300), paper)  # type: ignore[arg-type]
    ImageDraw.Draw(picture).line([(60, 60), (180, 60), (100, 250)], fill=ink, width=22)  # type: ignore[arg-type]
    return picture


def test_a_picture_is_read_as_viewers_show_it(tmp_path: Path) -> None:
    """Turned by its EXIF orientation, on white where it is transparent, and with more than 8 bits."""
    seven = drawn_seven()
    seven.save(tmp_path / "seven.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    seven.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    seven.save(tmp_path / "damaged.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    window = seven.convert("RGBA")
    corners = Image.new("L", window.size, 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, 239, 299), radius=20, fill=255)
    window.putalpha(corners)
    window.save(tmp_path / "window.png")
    drawn_seven("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)).save(tmp_path / "ink.png")
    drawn_seven("RGBA", (255, 255, 255, 0), (255, 255, 255, 255)).save(tmp_path / "chalk.png")
    grey = np.asarray(seven)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "integers.tiff")
    Image.fromarray(grey.astype(np.int32) * 1000).save(tmp_path / "large.tiff")
    Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "fractions.tiff")
    right = images.read_picture(tmp_path / "seven.png").astype(int)
    for path in sorted(tmp_path.iterdir()):
        difference = np.abs(images.read_picture(path) - right).mean()
        assert difference < 1, path.name
