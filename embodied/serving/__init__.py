"""Serves a policy over websockets: many sessions, batched requests, one memory per session.

A client that sends nothing extra speaks openpi's protocol: the server sends its metadata first, then answers each
request with one message; an error is a text message, after which the connection closes. Our own clients add
`session_id`, `episode_id` and `reset`, and send whole requests in the encoding of `embodied.codec`; see
`serving.messages`. `one_file.py` is a client and a server that can be copied into another environment.
"""

from embodied.access import Access, read_token
from embodied.serving.messages import PROTOCOL, Identity
from embodied.serving.moments import SessionMoments
from embodied.serving.server import PolicyServer, ServerRefusedError, serving
from embodied.serving.sessions import SessionError
from embodied.serving.settings import ServingSettings

__all__ = [
    "PROTOCOL",
    "Access",
    "Identity",
    "PolicyServer",
    "ServerRefusedError",
    "ServingSettings",
    "SessionError",
    "SessionMoments",
    "read_token",
    "serving",
]
