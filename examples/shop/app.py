"""The whole project: the built-in domains and ours. Served by `fortress serve shop.app:app`."""

from fortress import Fortress
from fortress.domains import standard
from shop.orders.manifest import orders

app = Fortress(title="Shop", version=2, domains=[*standard, orders])
