"""The YAML that README and docs show is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightmill.config import Configuration

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", "docs/add-a-system.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_system_that_a_page_adds_can_be_loaded(page: str, tmp_path: Path) -> None:
    data_set, use_case = re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.M)
    files = {"env/local.yaml": "lake: lake\n", "data/city/parking.yaml": data_set, "city/parking.yaml": use_case}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    configuration = Configuration.load(tmp_path)
    assert set(configuration.inputs(configuration.use_case("city/parking"))) == {"places"}


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_every_link_to_a_file_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [
        link for link in links if not link.startswith("http") and not (ROOT / page).parent.joinpath(link).exists()
    ] == []
