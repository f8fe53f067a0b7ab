"""Identity: people, how they prove who they are, their sessions and API keys."""
