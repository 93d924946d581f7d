"""A peer: rclone encrypts files, and keeps them on a WebDAV server, which is rclone as well."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAM = "rclone"

_PATIENCE = 10.0


def find() -> str | None:
    """Look for the program."""
    return shutil.which(PROGRAM)


def is_paced(program: str) -> bool:
    """Ask whether it is too old to make more than a hundred requests per second."""
    flags = subprocess.check_output([program, "help", "flags"], text=True)
    return "--webdav-pacer-min-sleep" not in flags


def measure(
    program: str, folder: Path, files: Path, tls: tuple[str, str] | None
) -> dict[str, float]:
    """
    Upload files, and download them.

    :param folder: where the server keeps its data, and the files come down.
    :param tls: a file with the server's key and certificate, and the authority's; None for TCP.
    :return: the seconds that took, by step.
    """
    data = folder / "data"
    data.mkdir()
    with _server(program, data, tls) as url:
        environment = {**os.environ, **_configuration(program, url)}
        if tls is not None:
            environment["RCLONE_CA_CERT"] = tls[1]
        copy = [program, "copy", "--transfers=3"]
        up = _seconds([*copy, str(files), "sealed:"], environment)
        down = _seconds([*copy, "sealed:", str(folder / "copy")], environment)
    return {"put": up, "sync": down}


def _configuration(program: str, url: str) -> dict[str, str]:
    password = subprocess.check_output([program, "obscure", "a password"], text=True).strip()
    return {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_DAV_TYPE": "webdav",
        "RCLONE_CONFIG_DAV_URL": url,
        "RCLONE_CONFIG_DAV_VENDOR": "other",
        # Else it paces itself.
        "RCLONE_WEBDAV_PACER_MIN_SLEEP": "0s",
        "RCLONE_CONFIG_SEALED_TYPE": "crypt",
        "RCLONE_CONFIG_SEALED_REMOTE": "dav:",
        "RCLONE_CONFIG_SEALED_PASSWORD": password,
    }


@contextmanager
def _server(program: str, data: Path, tls: tuple[str, str] | None) -> Iterator[str]:
    port = _free_port()
    command = [program, "serve", "webdav", str(data), "--addr", f"127.0.0.1:{port}"]
    if tls is not None:
        command += ["--cert", tls[0], "--key", tls[0]]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"rclone does not listen after {_PATIENCE:g} seconds")
        time.sleep(0.02)


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    return time.perf_counter() - began
