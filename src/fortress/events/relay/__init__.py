"""Facts between services: one stream of a broker for each service, written by its relay and read by the inboxes of others."""
