"""The gateway: a signed REST protocol for labs, by push and by pull; see `docs/gateway.md`."""

from cloudseed.lab_adapters.gateway.client import (
    GatewayLab,
    GatewaySettings,
    GatewayWorker,
    HttpLine,
)
from cloudseed.lab_adapters.gateway.signing import KeySettings, Signer, new_secret

__all__ = [
    "GatewayLab",
    "GatewaySettings",
    "GatewayWorker",
    "HttpLine",
    "KeySettings",
    "Signer",
    "new_secret",
]
