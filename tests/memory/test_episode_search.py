"""Similar episodes: equal to comparing with all of them, without reading them again."""

import numpy as np
import pytest

from embodied.memory import EpisodeBegun, EpisodeEnded, open_bank
from tests.memory.work import work_of
from tests.memory.writers import EventFactory


def begin(bank, factory, draw, count):
    """Begins and ends episodes, each name several times; some have no embedding, some that of another model."""
    for number in range(count):
        vector = draw.standard_normal(8).astype("<f4")
        vector /= np.linalg.norm(vector)
        name = f"e{int(draw.integers(max(3, count // 3)))}"
        kind = number % 7
        model, embedding = ("", b"") if kind == 0 else ("other" if kind == 1 else "m", vector.tobytes())
        events = [
            factory.event(EpisodeBegun(name, "tidy", model, embedding)),
            factory.event(EpisodeEnded(name, "done")),
        ]
        bank.append(events)


def expected(events, wanted, head, top_k):
    similarity = {}
    for event in events:
        payload = event.payload
        if isinstance(payload, EpisodeBegun) and payload.model_id == "m" and event.seq <= head:
            similarity[payload.episode] = float(np.frombuffer(payload.embedding, "<f4") @ wanted)
    return sorted(similarity.items(), key=lambda pair: (-pair[1], pair[0]))[:top_k]


def test_similar_episodes_are_those_that_comparing_with_all_finds():
    draw, factory = np.random.default_rng(2), EventFactory()
    with open_bank(":memory:") as bank:
        for _ in range(3):
            begin(bank, factory, draw, 60)
            events = bank.changes_since(0, limit=10**6)
            for head in (bank.head, bank.head // 2, 5, 0):
                wanted = draw.standard_normal(8).astype(np.float32)
                wanted /= np.linalg.norm(wanted)
                for top_k in (1, 5, 1000):
                    found = bank.snapshot(head).similar_episodes(wanted, "m", top_k=top_k)
                    assert [name for name, _ in found] == [name for name, _ in expected(events, wanted, head, top_k)]
                    assert [cosine for _, cosine in found] == pytest.approx(
                        [cosine for _, cosine in expected(events, wanted, head, top_k)], abs=1e-7
                    )


def test_a_second_question_reads_no_episode_again(monkeypatch):
    draw, factory = np.random.default_rng(2), EventFactory()
    wanted = np.eye(8, dtype=np.float32)[0]
    with open_bank(":memory:") as bank:
        begin(bank, factory, draw, 200)
        first = work_of(monkeypatch, bank, lambda: bank.similar_episodes(wanted, "m"))
        again = work_of(monkeypatch, bank, lambda: bank.similar_episodes(wanted, "m"))
        assert first[0] > 100
        assert again[0] < 10
        assert first[1] == again[1] == 0
