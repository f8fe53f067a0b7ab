// The README's walk-through by types made of the document: a wrong path, field or body does not compile.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Order = components["schemas"]["Order"];

declare const process: { argv: string[] };
const server = process.argv.at(-1) ?? "";
const open = createClient<paths>({ baseUrl: server });

function expect(held: boolean, what: unknown): asserts held {
  if (!held) throw new Error(JSON.stringify(what));
}

async function signedIn(email: string, password: string) {
  await open.POST("/users", { body: { email, password, age: 30 } });
  const { data, error } = await open.POST("/auth/login", { body: { email, password } });
  expect(data !== undefined && "access_token" in data, error);
  return { client: by(data.access_token), pair: data };
}

function by(token: string) {
  return createClient<paths>({ baseUrl: server, headers: { authorization: `Bearer ${token}` } });
}

const { client: ann, pair } = await signedIn("ann.ts@example.com", "a long enough phrase");
const products = await open.GET("/products", { params: { query: { limit: 100 } } });
const tea = products.data?.items.find((product) => product.sku === "TEA-GREEN");
expect(tea?.price.currency === "EUR", products);

const placed = await ann.POST("/orders", { body: { items: [{ sku: tea.sku, quantity: 2 }] } });
expect(placed.data !== undefined, placed.error);
const order: Order = placed.data;
const params = { path: { order_id: order.id } };
const read = await ann.GET("/orders/{order_id}", { params });
expect(read.data?.total === order.total, read);

const { client: ben } = await signedIn("ben.ts@example.com", "another long phrase");
const hidden = await ben.GET("/orders/{order_id}", { params });
expect(hidden.response.status === 404 && hidden.error?.code === "orders.not_found", hidden.error);

const renewed = await open.POST("/auth/refresh", { body: { refresh_token: pair.refresh_token } });
expect(renewed.data !== undefined && "access_token" in renewed.data, renewed.error);
const again = by(renewed.data.access_token);
expect((await again.POST("/auth/logout", {})).response.status === 204, "sign out");
expect((await again.GET("/users/me", {})).response.status === 401, "signed out");
console.log("walked");
