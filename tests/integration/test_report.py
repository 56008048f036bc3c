"""The morning report in a browser: it opens from a file, complains of nothing, and can be used without a mouse."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mornings import NIGHT, Mornings

from nightmill.report import write_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on PATH (Debian: apt install chromium)")
VOID = {"meta", "link", "br", "input", "img", "hr", "wbr"}


class Node:
    """An element of a page."""

    def __init__(self, name: str, attributes: dict[str, str], parent: Node | None) -> None:
        self.name, self.attributes, self.parent = name, attributes, parent
        self.children: list[Node] = []
        self.words = ""

    def all(self, *names: str) -> list[Node]:
        found = [self] if not names or self.name in names else []
        return found + [one for child in self.children for one in child.all(*names)]

    @property
    def text(self) -> str:
        return (self.words + " ".join(child.text for child in self.children)).strip()

    def above(self) -> list[Node]:
        return [self.parent, *self.parent.above()] if self.parent else []


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("root", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(node)
        self.at = self.at if tag in VOID else node

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.at.name == tag, f"</{tag}> closes <{self.at.name}>"
            self.at = self.at.parent or self.root

    def handle_data(self, data: str) -> None:
        self.at.words += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Mornings(tmp_path_factory.mktemp("mornings")).written()
    models: Any = made.models
    return Path(write_report(made.lake, models, made.use_cases(), made.data_sets(), NIGHT).path)


def _opened(report: Path, page: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--virtual-time-budget=2000", "--enable-logging=stderr", f"--user-data-dir={report.parent}/profile"]
    return subprocess.run(
        [*command, *options, f"{report.as_uri()}#{page}"], capture_output=True, text=True, check=True, timeout=60
    )


def _page(report: Path, page: str) -> Node:
    answer = _opened(report, page, "--dump-dom")
    assert "CONSOLE" not in answer.stderr, re.findall(r".*CONSOLE.*", answer.stderr)
    reader = _Reader()
    reader.feed(answer.stdout)
    return reader.root


@pytest.fixture(scope="module")
def opened(report: Path) -> Node:
    return _page(report, "city/traffic")


def _shown(page: Node) -> list[str]:
    return [s.attributes["id"] for s in page.all("section") if "current" in s.attributes.get("class", "").split()]


def test_one_page_is_shown_and_its_charts_are_drawn(opened: Node) -> None:
    assert _shown(opened) == ["city/traffic"]
    (current,) = (a for a in opened.all("a") if a.attributes.get("aria-current") == "page")
    assert current.attributes["href"] == "#city/traffic"
    section = next(s for s in opened.all("section") if s.attributes.get("id") == "city/traffic")
    labels = [svg.attributes["aria-label"] for figure in section.all("figure") for svg in figure.all("svg")]
    assert len(labels) == 2 and "true values in the interval" in labels[0], labels


def test_an_unknown_place_shows_the_overview_and_a_data_set_its_page(report: Path) -> None:
    assert _shown(_page(report, "nowhere")) == ["overview"]
    assert _shown(_page(report, "data:city/river")) == ["data"]


def test_every_picture_is_told_in_words_and_every_control_has_a_name(opened: Node) -> None:
    for svg in opened.all("svg"):
        told = svg.attributes.get("role") == "img" and len(svg.attributes.get("aria-label", "")) > 10
        assert told or svg.attributes.get("aria-hidden") == "true", svg.attributes
    named = {label.attributes["for"] for label in opened.all("label") if "for" in label.attributes}
    for control in opened.all("input", "select", "button"):
        inside = any(parent.name == "label" for parent in control.above())
        assert control.text or inside or control.attributes.get("id") in named, control.attributes
    for region in opened.all("div"):
        if "tabindex" in region.attributes:
            assert region.attributes["role"] == "region" and region.attributes["aria-label"]


def test_headings_are_in_order_and_ids_are_unique_and_known(opened: Node) -> None:
    levels = [int(heading.name[1]) for heading in opened.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    ids = [node.attributes["id"] for node in opened.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    asked = [node.attributes["aria-labelledby"] for node in opened.all() if "aria-labelledby" in node.attributes]
    asked += [a.attributes["href"][1:] for a in opened.all("a")]
    assert set(asked) <= set(ids)
    assert [node.name for node in opened.all("header", "nav", "main", "footer")] == ["header", "nav", "main", "footer"]
    assert opened.all("html")[0].attributes["lang"] == "en"


def test_tables_have_captions_and_heads(opened: Node) -> None:
    assert opened.all("table")
    for table in opened.all("table"):
        assert table.all("caption") and all(th.attributes.get("scope") or th.all("span") for th in table.all("th"))


def test_a_wide_a_narrow_and_a_printed_report_are_made_without_complaint(report: Path) -> None:
    for name, size in (("wide", "1440,900"), ("narrow", "500,844")):
        picture = report.with_name(f"{name}.png")
        answer = _opened(report, "overview", f"--window-size={size}", f"--screenshot={picture}")
        assert "CONSOLE" not in answer.stderr and picture.stat().st_size > 20_000
    paper = report.with_name("report.pdf")
    _opened(report, "overview", f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert pages >= 6, "overview, what ran, data and three use cases, each on a page of its own"
