"""The command line: a shell whose groups come from the runtime and the domains."""
