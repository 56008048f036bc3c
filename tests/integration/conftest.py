"""Every integration test works in a town of its own."""

from pathlib import Path

import pytest
from town import Town, found


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return found(tmp_path)
