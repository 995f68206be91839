"""Forks of a process that renders: no state of OpenGL crosses them.

Drivers, Mesa's llvmpipe among them, keep threads and locks that a forked process inherits without the threads: whatever
uses a context there, even a new one, waits for them without end. Before a fork all contexts of this package are
therefore released and EGL is shut down; parent and child each begin anew when they next render, with the same images.
Contexts that other libraries have on the same EGL displays end with them.
"""

import ctypes
import os
import threading
from contextlib import suppress
from ctypes.util import find_library
from typing import Any, Protocol
from weakref import WeakSet

from embodied.errors import MissingDependencyError

MAX_DEVICES = 32
_EGL_PLATFORM_DEVICE = 0x313F


class Suspendable(Protocol):
    """What holds a context of OpenGL, and can make another one later."""

    def suspend(self) -> None:
        """Releases the context; the next use makes another one."""
        ...


class _Contexts:
    """All that uses OpenGL in this process. `using` is held while contexts are in use, so that a fork waits."""

    def __init__(self) -> None:
        self.using = threading.RLock()
        self.holders: WeakSet[Suspendable] = WeakSet()
        self.threads: set[int] = set()  # Those that made contexts since EGL was last shut down.
        self.inherited = False  # Whether this process was forked from one whose contexts could not be released.

    def before_fork(self) -> None:
        """Releases everything where this thread made everything: contexts of other threads cannot be released here."""
        self.using.acquire()
        if self.threads == {threading.get_ident()}:
            for holder in list(self.holders):
                holder.suspend()
            _shut_down_egl()
            self.threads.clear()

    def after_fork_in_parent(self) -> None:
        """Lets other threads render again."""
        self.using.release()

    def after_fork_in_child(self) -> None:
        """Remembers whether contexts were inherited."""
        self.inherited = self.inherited or bool(self.threads)
        self.using.release()


_CONTEXTS = _Contexts()
os.register_at_fork(
    before=_CONTEXTS.before_fork,
    after_in_parent=_CONTEXTS.after_fork_in_parent,
    after_in_child=_CONTEXTS.after_fork_in_child,
)


def note_context() -> None:
    """Notes that this thread is about to make a context. Raises `MissingDependencyError` where that would hang."""
    if _CONTEXTS.inherited:
        raise MissingDependencyError(
            "OpenGL cannot start in a process that was forked while another thread of its parent used OpenGL.",
            remedy="Start the process afresh: context='spawn' of vector environments, or of multiprocessing.",
        )
    _CONTEXTS.threads.add(threading.get_ident())


def suspend_before_forks(holder: Suspendable) -> None:
    """Has `holder` suspended before every fork, as long as it lives."""
    _CONTEXTS.holders.add(holder)


def using_opengl() -> threading.RLock:
    """Returns the lock to hold while a context is used: a fork waits for it."""
    return _CONTEXTS.using


def _shut_down_egl() -> None:
    """Ends EGL on all devices, with the threads of its drivers."""
    with suppress(OSError, AttributeError):  # Without libEGL there is nothing to end.
        egl = ctypes.CDLL(find_library("EGL") or "libEGL.so.1")
        egl.eglGetProcAddress.restype = ctypes.c_void_p
        egl.eglTerminate.argtypes = (ctypes.c_void_p,)
        egl.eglReleaseThread()
        for display in _displays(egl):
            egl.eglTerminate(display)


def _displays(egl: Any) -> list[int]:
    query, get = (egl.eglGetProcAddress(name) for name in (b"eglQueryDevicesEXT", b"eglGetPlatformDisplayEXT"))
    if not query or not get:
        return []
    count, devices = ctypes.c_int(), (ctypes.c_void_p * MAX_DEVICES)()
    query_type = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))
    get_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)
    query_type(query)(MAX_DEVICES, devices, ctypes.byref(count))
    displays = [get_type(get)(_EGL_PLATFORM_DEVICE, devices[index], None) for index in range(count.value)]
    return [display for display in displays if display]
