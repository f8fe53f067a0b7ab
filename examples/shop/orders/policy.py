"""Who may what, as data. No code decides this anywhere else."""

from fortress.security import Permission, Role

READ = Permission("orders:read", "See orders", reach=True)
PLACE = Permission("orders:place", "Place an order")
CANCEL = Permission("orders:cancel", "Cancel an order that is not shipped", reach=True)
CHANGE = Permission("orders:change", "Change what is said with an order that is not shipped", reach=True)

CUSTOMER = Role("customer", "Buys for themself", grants=[READ.own, PLACE, CANCEL.own, CHANGE.own], by_default=True)
CLERK = Role("clerk", "Serves every customer", grants=[READ.any, CANCEL.any, CHANGE.any])
