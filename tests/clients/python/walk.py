"""The README's walk-through by the generated client: typed models in, typed models out. Says so when it has come to its end."""

from __future__ import annotations

import sys

from shop_client import AuthenticatedClient, Client
from shop_client.api.identity import read_me, refresh, sign_in, sign_out, sign_up
from shop_client.api.orders import list_orders, list_products, place_order, read_order
from shop_client.models import Item, Order, PlaceOrder, ProblemDocument, Refresh, SignIn, SignUp, TokenPair

SERVER = sys.argv[1]


def signed_in(email: str, password: str) -> tuple[AuthenticatedClient, TokenPair]:
    client = Client(base_url=SERVER)
    sign_up.sync(client=client, body=SignUp(email=email, password=password, age=30))
    pair = sign_in.sync(client=client, body=SignIn(email=email, password=password))
    assert isinstance(pair, TokenPair), pair
    return AuthenticatedClient(base_url=SERVER, token=pair.access_token), pair


ann, pair = signed_in("ann@example.com", "a long enough phrase")
products = list_products.sync(client=Client(base_url=SERVER))
tea = next(product for product in products.items if product.sku == "TEA-GREEN")
assert tea.price.currency == "EUR", tea

order = place_order.sync(client=ann, body=PlaceOrder(items=[Item(sku=tea.sku, quantity=2)]))
assert isinstance(order, Order), order
assert read_order.sync(order.id, client=ann) == order
assert [one.id for one in list_orders.sync(client=ann).items] == [order.id]

ben, _ = signed_in("ben@example.com", "another long phrase")
hidden = read_order.sync_detailed(order.id, client=ben)
assert hidden.status_code == 404, hidden
assert isinstance(hidden.parsed, ProblemDocument), hidden

renewed = refresh.sync(client=Client(base_url=SERVER), body=Refresh(refresh_token=pair.refresh_token))
assert isinstance(renewed, TokenPair), renewed
ann = AuthenticatedClient(base_url=SERVER, token=renewed.access_token)
assert read_me.sync(client=ann).email == "ann@example.com"
assert sign_out.sync_detailed(client=ann).status_code == 204
assert read_me.sync_detailed(client=ann).status_code == 401
sys.stdout.write("walked\n")
