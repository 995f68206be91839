"""Frames into an MP4 that any browser plays."""

import io
from fractions import Fraction
from typing import Any

import numpy as np

from embodied.errors import ConfigError

OPTIONS = {"crf": "28", "preset": "veryfast"}


class Mp4Writer:
    """Encodes frames as H.264 as they arrive, so that the memory used does not grow with the length of the video.

    It uses one thread and no clock: the same frames give the same bytes.
    """

    def __init__(self, *, fps: int) -> None:
        self._fps = fps
        self._buffer = io.BytesIO()
        self._container: Any = None  # An `av` container and its stream, once the first frame gives their size.
        self._stream: Any = None

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 (height, width, 3). Raises `ConfigError` for odd sizes, which H.264 cannot hold."""
        import av

        if self._container is None:
            self._open(*frame.shape[:2])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self._mux(picture)

    def finish(self) -> bytes:
        """Returns the video, or no bytes where there was no frame; nothing can be written after it."""
        if self._container is not None:
            self._mux(None)
            self._container.close()
            self._container = None
        return self._buffer.getvalue()

    def _mux(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            self._container.mux(packet)

    def _open(self, height_px: int, width_px: int) -> None:
        import av  # FFmpeg is loaded only where a video is made.

        if height_px % 2 or width_px % 2:
            raise ConfigError("A video must have an even width and height.", value=(width_px, height_px))
        self._container = av.open(self._buffer, mode="w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=self._fps, options=OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width_px, height_px, "yuv420p"
        self._stream.thread_count, self._stream.time_base = 1, Fraction(1, self._fps)
