"""The S3 of an arena, which may be killed and comes back over the same files."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import boto3

from farm.process.child import free_port
from tests.support.s3 import S3Server, rclone_binary


class S3Process:
    """rclone over a folder, on one port and with one key, however often it is killed."""

    def __init__(self, folder: Path) -> None:
        (folder / "farm").mkdir(parents=True)
        self.server = S3Server(
            host="127.0.0.1", port=free_port(), access_key_id="chaos", secret_access_key=uuid.uuid4().hex
        )
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again over the same files."""
        key = f"{self.server.access_key_id},{self.server.secret_access_key}"
        command = [str(rclone_binary()), "serve", "s3", "--auth-key", key, "--config", ""]
        command += ["--addr", f"127.0.0.1:{self.server.port}", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it without a goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        """Whether somebody listens there."""
        with contextlib.suppress(OSError), socket.create_connection((self.server.host, self.server.port), 1):
            return True
        return False

    def objects(self) -> dict[str, str]:
        """Every object that lies there, with the sha256 of its bytes."""
        root = self.folder / "farm"
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*")
            if path.is_file()
        }

    def open_uploads(self) -> list[str]:
        """Keys of the multipart uploads that were begun and neither completed nor aborted."""
        client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=self.server.url,
            region_name="us-east-1",
            aws_access_key_id=self.server.access_key_id,
            aws_secret_access_key=self.server.secret_access_key,
        )
        try:
            listed = client.list_multipart_uploads(Bucket=self.server.bucket)
        except client.exceptions.NoSuchUpload:  # so rclone says "none"
            return []
        finally:
            client.close()
        return [upload["Key"] for upload in listed.get("Uploads", [])]
