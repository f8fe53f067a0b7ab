"""The providers that the settings name, each with its client."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Final

from fortress.clock import Clock
from fortress.domains.identity.contract import NoFreshProof, UnknownProvider
from fortress.domains.identity.service.providers.client import ProviderClient
from fortress.domains.identity.service.providers.kinds import Provider, provider_of
from fortress.domains.identity.service.providers.outward import Outward
from fortress.errors import CannotStart
from fortress.settings import Settings, is_private_way

FRESH_SECONDS: Final = 300
_NEEDED: Final = ("authlib", "httpx")
_CALLBACK: Final = "/api/v1/auth/providers/{name}/callback"


class ConfiguredProviders:
    """Who people may sign in with.

    Raises:
        CannotStart: there are some, and what they need is not installed; or they would send people back over an open way.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if settings.providers and missing:
            raise CannotStart(
                f"FORTRESS_PROVIDERS needs {' and '.join(missing)}, which is not installed", hint="pip install 'fortress[providers]'"
            )
        outward = Outward()
        self._clients = {name: ProviderClient(_provider(name, settings), outward, clock) for name in settings.providers}

    def client(self, name: str) -> ProviderClient:
        """The client of the provider of this name. Raises UnknownProvider."""
        found = self._clients.get(name)
        if found is None:
            raise UnknownProvider
        return found

    def offered(self) -> Sequence[Provider]:
        """Every provider, in the order of the settings."""
        return [client.provider for client in self._clients.values()]

    def fresh_seconds(self, name: str) -> int:
        """How long ago people may have proved themselves there for it to be a fresh proof. Raises NoFreshProof, UnknownProvider."""
        if not self.client(name).provider.openid:
            raise NoFreshProof
        return FRESH_SECONDS


def _provider(name: str, settings: Settings) -> Provider:
    provider = provider_of(name, settings.providers[name], settings.origin + _CALLBACK.format(name=name))
    if not is_private_way(provider.redirect_uri):
        raise CannotStart(
            f"the provider {name} would send people back to {provider.redirect_uri}, which is not https",
            hint="set FORTRESS_PUBLIC_URL to the address that browsers see",
        )
    return provider
