"""Personal data: encrypted by a key of the person's own, found by blind indexes, unreadable once that key is destroyed."""
