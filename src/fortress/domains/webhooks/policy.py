"""Who may what, as data. No role but the administrators' holds these: a webhook makes this server call where its owner says."""

from fortress.security import Permission

READ = Permission("webhooks:read", "See webhooks and what was sent to them", reach=True)
WRITE = Permission("webhooks:write", "Have facts sent to other systems: of what one does oneself, or of what everyone does", reach=True)
