import subprocess
import sys

BUILD_ALL = """
import socket, sys, urllib.request

def refuse(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"}:
        raise AssertionError(f"the network was asked: {event} {arguments}")

sys.addaudithook(refuse)
import torch
from policies.encoders import ClipTextConfig, ConvolutionalConfig, HashedWordsConfig, HieraConfig, HieraSize

ConvolutionalConfig().build()
HashedWordsConfig().build()
with torch.device("meta"):
    ClipTextConfig().build()
    HieraConfig(size=HieraSize.tiny).build()
print("built", "transformers" in sys.modules, "peft" in sys.modules)
if "ask" in sys.argv:
    urllib.request.urlopen("http://localhost:9")
"""


def python(*arguments: str):
    command = [sys.executable, "-W", "error", "-c", BUILD_ALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_encoder_asks_the_network_when_imported_or_built():
    done = python("ask")
    assert done.stdout == "built True True\n", done.stderr
    assert "AssertionError: the network was asked" in done.stderr  # The watch sees what it must.
