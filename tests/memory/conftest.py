import pytest

from tests.memory.writers import Teller


@pytest.fixture
def teller():
    return Teller()
