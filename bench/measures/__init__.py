"""Each measure fills some rows of the table."""
