"""Granian and asyncpg with nothing in between: no caller, no limit, no log. What is left to save is above this."""
