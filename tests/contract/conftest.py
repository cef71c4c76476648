"""Servers that speak S3, for every test here."""

from __future__ import annotations

from tests.contract.storage_servers import aws, bucket, ledger, moto, rclone, storage

__all__ = ["aws", "bucket", "ledger", "moto", "rclone", "storage"]
