import pytest

from tests.memory.writers import EventFactory


@pytest.fixture
def factory():
    return EventFactory()
