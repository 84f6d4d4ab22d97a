"""The picture that `semserve heatmap` draws."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np


class TestTheHeatmap:
    SENTENCES = ("$5 or $6?", "A cat sat on the mat. " * 20, "短い文 🙂")

    def test_is_a_picture(self, run, tmp_path):
        picture = tmp_path / "map.png"
        output = run("heatmap", *self.SENTENCES, "--to", str(picture))
        assert (0, f"{picture}\n", "") == output
        assert picture.read_bytes().startswith(b"\x89PNG\r\n")

    def test_is_annotated_and_named(self, run, tmp_path):
        """As an SVG it says all its scores; text is drawn as shapes, so its ids tell."""
        picture = tmp_path / "map.svg"
        run("heatmap", *self.SENTENCES, "--to", str(picture))
        root = ET.parse(picture).getroot()  # noqa: S314 - we wrote it
        comments = picture.read_text()
        assert root.tag.endswith("svg")
        assert 3 == comments.count("<!-- 1.00 -->")
        assert "<!-- $5 or $6? -->" in comments
        assert "Oblique" not in comments  # as in a formula

    def test_prints_its_scores_as_json(self, run, tmp_path):
        picture = str(tmp_path / "map.pdf")
        output = run("heatmap", "a", "b", "--to", picture, "--output", "json")
        scores = np.array(output.document["scores"])
        assert (2, 2) == scores.shape
        np.testing.assert_allclose(np.ones(2), scores.diagonal(), atol=1e-5)

    def test_takes_many_sentences(self, run, tmp_path):
        sentences = [f"sentence {place}" for place in range(60)]
        output = run("heatmap", *sentences, "--to", str(tmp_path / "map.png"))
        assert (0, "") == (output.code, output.err)

    def test_into_a_folder_that_is_not_there_says_so(self, run, tmp_path):
        output = run("heatmap", "a", "b", "--to", str(tmp_path / "absent" / "map.png"))
        assert 2 == output.code
        assert output.err.endswith("No such file or directory\n")
