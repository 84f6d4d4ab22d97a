"""The files of the playground: labels, landmarks, contrast, and nothing from other hosts."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from html_document import Document

PAGE = ROOT / "server" / "deploy" / "playground"
STATIC = Document((PAGE / "index.html").read_text())


def test_every_input_has_a_label_and_every_landmark_its_place() -> None:
    labels = [label["for"] for label in STATIC.named("label")]
    fields = [field["id"] for tag in ("input", "textarea", "select") for field in STATIC.named(tag)]
    assert len(fields) == len(set(fields))
    assert sorted(map(str, fields)) == sorted(map(str, labels))
    assert [1, 1, 1] == [len(STATIC.named(tag)) for tag in ("header", "main", "footer")]
    ids = {attributes.get("id") for _, attributes in STATIC.tags}
    titles = [section["aria-labelledby"] for section in STATIC.named("section")]
    assert 4 == len(titles)
    assert set(titles) <= ids
    roles = [attributes.get("role") for _, attributes in STATIC.tags]
    assert (4, 4) == (roles.count("status"), roles.count("alert"))


def test_the_page_has_no_inline_code_and_no_other_host() -> None:
    for _, attributes in STATIC.tags:
        assert not {name for name in attributes if name.startswith("on") or name == "style"}
    assert not STATIC.named("style")
    assert all(script.get("src") for script in STATIC.named("script"))
    for path in PAGE.iterdir():
        if path.suffix in {".html", ".css", ".js", ".png"}:
            found = re.findall(rb"https?:|[\"'(]//|@import|wss?:", path.read_bytes())
            assert [] == found, path.name


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2, of `#rrggbb`."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_contrast_of_each_theme_is_that_of_wcag_aa(theme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (PAGE / "style.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[["light", "dark"].index(theme)]))
    texts = [("text", "page"), ("text", "card"), ("text", "chip"), ("muted", "page")]
    texts += [("muted", "card"), ("accent", "page"), ("accent", "card"), ("error", "card")]
    texts += [("on-accent", "accent"), *((f"heat-text-{at}", f"heat-{at}") for at in range(11))]
    edges = [("edge", "card"), ("negative", "card"), ("accent", "card")]
    poor = {
        (front, back)
        for pairs, least in ((texts, 4.5), (edges, 3.0))
        for front, back in pairs
        if contrast(colours[front], colours[back]) < least
    }
    assert set() == poor
