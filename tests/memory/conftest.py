import pytest

from tests.memory.tellers import Teller


@pytest.fixture
def teller():
    return Teller()
