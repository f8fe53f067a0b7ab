"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from fortress.domains.identity.rest import accounts, keys, personal, providers, sessions

ROUTES = (accounts, sessions, keys, personal, providers)
