"""An owner that starts while another process holds the file waits for it."""

import threading
from functools import partial

import pytest

from embodied.memory import OwnedError, Ownership, open_bank, opened_when_free


def test_a_bank_is_opened_as_soon_as_the_process_before_releases_it(tmp_path):
    path, waits = tmp_path / "site.db", []
    holder = Ownership(path)
    threading.Timer(0.3, holder.release).start()
    opened = partial(open_bank, f"sqlite:///{path}")
    opened_when_free(opened, wait_s=10.0, on_wait=waits.append).close()
    (refusal,) = waits
    assert isinstance(refusal, OwnedError)


def test_a_bank_that_stays_owned_is_refused_and_other_errors_are_raised_at_once(tmp_path):
    path = tmp_path / "site.db"
    holder = Ownership(path)
    with pytest.raises(OwnedError):
        opened_when_free(partial(open_bank, f"sqlite:///{path}"), wait_s=0.1, on_wait=print)
    holder.release()
    with pytest.raises(ZeroDivisionError):
        opened_when_free(lambda: 1 // 0, wait_s=10.0, on_wait=pytest.fail)
