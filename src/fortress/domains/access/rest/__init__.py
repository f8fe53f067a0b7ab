"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from fortress.domains.access.rest import assignments, explanations, roles

ROUTES = (roles, assignments, explanations)
