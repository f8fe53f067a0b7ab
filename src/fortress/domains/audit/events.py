"""Facts, past tense, versioned. That rows were sealed is told by the seals; there is nothing else to hear of us."""
