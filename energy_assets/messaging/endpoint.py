"""Where the broker is and how to be let in: address, credentials, TLS. Shared by everything that speaks MQTT here.

Secrets come from a file or from the environment (by the settings), never from the command line; a file is read anew at
each connection, so that a mended password heals a refused client without a restart.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from energy_assets.errors import ConfigError

if TYPE_CHECKING:
    from energy_assets.settings import Settings

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A broker: host, port, and whom and what we trust there."""

    host: str
    port: int
    has_tls: bool = False
    user_name: str | None = None
    secret: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __str__(self) -> str:
        return f"{'mqtts' if self.has_tls else 'mqtt'}://{self.host}:{self.port}"

    def password(self) -> str | None:
        """Return the password as it is now.

        Raises:
            ConfigError: the password file cannot be read.
        """
        if self.password_file is None:
            return self.secret
        try:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigError(
                f"The password file {self.password_file} for {self} cannot be read ({error.strerror}); "
                "make it readable for this user, or name another."
            ) from error

    def tls_context(self) -> ssl.SSLContext | None:
        """Return a context that checks the broker's name and chain and shows our certificate; None without TLS.

        Raises:
            ConfigError: a certificate or key is missing, unreadable or does not belong together.
        """
        if not self.has_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            named = [str(path) for path in (self.ca_file, self.certificate_file, self.key_file) if path is not None]
            raise ConfigError(f"TLS for {self} cannot be set up from {', '.join(named)}: {error}.") from error
        return context


def endpoint_of(settings: Settings) -> Endpoint:
    """Return the broker that the settings name.

    Raises:
        ConfigError: the address is not `mqtt://host[:port]` or `mqtts://host[:port]`.
    """
    url = settings.mqtt_broker
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in PORTS or not parts.hostname or port == -1 or parts.path.strip("/"):
        raise ConfigError(f"The broker {url!r} is not understood: give mqtt://HOST[:PORT] or mqtts://HOST[:PORT].")
    if parts.username or parts.password:
        raise ConfigError(
            "The broker's address holds a user or password, which would show in process lists and logs: set "
            "ENERGY_ASSETS_MQTT_USER_NAME and ENERGY_ASSETS_MQTT_PASSWORD or ENERGY_ASSETS_MQTT_PASSWORD_FILE instead."
        )
    return Endpoint(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        has_tls=parts.scheme == "mqtts",
        user_name=settings.mqtt_user_name,
        secret=None if settings.mqtt_password is None else settings.mqtt_password.get_secret_value(),
        password_file=settings.mqtt_password_file,
        ca_file=settings.mqtt_ca_file,
        certificate_file=settings.mqtt_certificate_file,
        key_file=settings.mqtt_key_file,
    )
