"""docs/reference.md says what the types say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightmill.config import UseCase
from nightmill.config.reference import KINDS, main, reference, sections

ROOT = Path(__file__).parents[3]
PAGE = reference()


def test_the_committed_page_is_the_generated_one() -> None:
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == PAGE, "run `make format`"


def test_every_key_has_its_line_of_doc() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| `[a-z_]+` \|", line)]
    keys = sum(len(set(model.model_fields) - {"name", "kind"}) for kind in KINDS for _, model in sections(kind.model))
    assert len(rows) == keys > 60
    assert [row for row in rows if not re.split(r"(?<!\\)\|", row)[4].strip()] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `every` | duration, or months as `1 month` | **required** | Regular step between rows of one entity;",
        "| `max_refused` | share | `20 %` | Above this share of refused records a day is refused whole. |",
        "| `epochs` | whole number above 0 | `30` | Passes over the training samples at most. |",
        "| `expires` | duration | `2 min` |",
        "| `between` | [number, number] |  | Lowest and highest value allowed, both included, in `unit`. |",
        "| `from` | text | **required** | The data set, as in data/city/traffic. |",
    ],
)
def test_types_and_defaults_are_told_as_a_person_writes_them(row: str) -> None:
    assert row in PAGE


def test_every_link_leads_to_a_section() -> None:
    links, anchors = re.findall(r"\]\(#([a-z-]+)\)", PAGE), re.findall(r'<a id="([a-z-]+)"></a>', PAGE)
    assert set(links) == set(anchors) and len(anchors) == len(set(anchors))


def test_internal_fields_are_hidden() -> None:
    assert "| `kind` |" not in PAGE and "| `name` |" not in PAGE
    assert "name" in UseCase.model_fields


def test_check_refuses_a_stale_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "reference.md"
    assert main(["--check", str(page)]) == 1
    assert main([str(page)]) == 0
    assert main(["--check", str(page)]) == 0
    page.write_text(page.read_text().replace("`20 %`", "`30 %`"))
    assert main(["--check", str(page)]) == 1
    assert "make format" in capsys.readouterr().err
