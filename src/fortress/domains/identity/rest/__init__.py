"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from fortress.domains.identity.rest import (
    accounts,
    factors,
    keys,
    passkeys,
    personal,
    proofs,
    providers,
    recovery,
    service_accounts,
    sessions,
)

ROUTES = (accounts, sessions, keys, service_accounts, personal, providers, factors, passkeys, proofs, recovery)
