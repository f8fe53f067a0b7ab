"""Sign-in with others: OpenID Connect Core 1.0 and OAuth 2.0 (RFC 6749, RFC 7636, RFC 9207, RFC 9700), as their client."""

from fortress.domains.identity.service.providers.configured import ConfiguredProviders
from fortress.domains.identity.service.providers.entering import ProviderSignIn
from fortress.domains.identity.service.providers.flows import ProviderFlows
from fortress.domains.identity.service.providers.linking import IdentityService

__all__ = ["ConfiguredProviders", "IdentityService", "ProviderFlows", "ProviderSignIn"]
