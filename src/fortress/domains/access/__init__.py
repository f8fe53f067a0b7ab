"""Access: who holds which roles. The roles themselves are data, declared by the domains."""
