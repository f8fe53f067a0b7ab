"""Who may what, as data. No code decides this anywhere else."""

from fortress.security import Permission

READ = Permission("events:read", "See what has happened")
