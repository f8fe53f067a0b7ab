"""Audit: who did what, readable, and sealed so that nothing can be changed in it unnoticed."""
