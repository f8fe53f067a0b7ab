"""Who is asking and what they may: principals, permissions as data, keys, tokens, hashing."""
