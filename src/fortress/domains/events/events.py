"""Facts, past tense, versioned. We tell those of others, and have none of our own."""
