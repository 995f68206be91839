"""An OpenGL context without a window: on a GPU where there is one, else on Mesa's llvmpipe."""

import os
from typing import Any

from embodied.errors import MissingDependencyError
from embodied.simulators.rendering.forking import MAX_DEVICES, note_context

OPENGL_VERSION = 430
SOFTWARE_THREADS = "LP_NUM_THREADS"  # Read by Mesa when the process makes its first context.
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")
_REMEDY = "On Debian: apt-get install libegl1 libgl1 libgl1-mesa-dri; or choose the renderer `tiny`."


def software_threads(threads: int) -> str:
    """Returns the value of `SOFTWARE_THREADS` with which llvmpipe uses `threads` threads in all.

    Mesa counts those beside the calling one, which alone draws just as fast as with one helper, for which it would wait
    at every image.
    """
    return str(threads if threads > 1 else 0)


def create_context() -> Any:
    """Returns a moderngl context of OpenGL 4.3, made current in the calling thread.

    Devices are tried in EGL's order, hardware first. GLCONTEXT_DEVICE_INDEX names the one to use instead, and
    LIBGL_ALWAYS_SOFTWARE asks for llvmpipe. Raises `MissingDependencyError` naming the packages to install, and in a
    process whose parent left it contexts (see `forking`).
    """
    try:
        import moderngl
    except ImportError as error:
        raise MissingDependencyError(
            "The OpenGL renderer needs moderngl.", remedy="Install it: pip install moderngl."
        ) from error

    def create(device: int | None) -> Any:
        settings: dict[str, Any] = {"backend": "egl"} | ({} if device is None else {"device_index": device})
        return moderngl.create_context(require=OPENGL_VERSION, standalone=True, **settings)

    note_context()
    try:
        return create(None) if "GLCONTEXT_DEVICE_INDEX" in os.environ else _best_device(create)
    except Exception as error:  # glcontext raises bare Exception for whatever EGL lacks
        raise MissingDependencyError(
            f"The OpenGL renderer needs OpenGL 4.3 through EGL: {error}.", remedy=_REMEDY
        ) from error


def _best_device(create: Any) -> Any:
    want_software = os.environ.get("LIBGL_ALWAYS_SOFTWARE", "").lower() in {"1", "true", "y", "yes"}
    spare: Any = None
    for device in range(MAX_DEVICES):
        try:
            context = create(device)
        except Exception as error:  # As above: a bare Exception.
            if "but found" in str(error):  # The end of EGL's list; a device that only fails is passed over.
                break
            continue
        software = any(word in context.info["GL_RENDERER"].lower() for word in _SOFTWARE)
        if software == want_software:
            if spare is not None:
                spare.release()
            return context
        if spare is None:
            spare = context
        else:
            context.release()
    if spare is None:
        return create(None)
    with spare:
        return spare
