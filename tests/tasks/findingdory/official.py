"""The official questions, where a checkout has them beside it: they are read there and never copied."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

SAMPLE = "findingdory_val_sample.json"
FOLDER = Path(os.environ.get("EMBODIED_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))

needs_official = pytest.mark.skipif(
    not (FOLDER / SAMPLE).exists(),
    reason=f"{SAMPLE} is not in ../shared/data, nor in the folder that EMBODIED_SHARED_DATA names.",
)


def official_rows() -> list[dict[str, Any]]:
    """Returns the rows of the sample: question, id, answer (frames by goal), categories, ep_id."""
    return json.loads((FOLDER / SAMPLE).read_text())
