-- The same tables for every peer; ours are made by the shop example's migrations and filled with the same rows.
CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE,
    active boolean NOT NULL DEFAULT true,
    scopes text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE products (
    id uuid PRIMARY KEY,
    sku text NOT NULL UNIQUE,
    name text NOT NULL,
    price numeric(12, 2) NOT NULL,
    stock integer NOT NULL CHECK (stock >= 0)
);
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users,
    status text NOT NULL,
    total numeric(12, 2) NOT NULL,
    lines jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    version integer NOT NULL DEFAULT 1
);
CREATE INDEX ON orders (user_id, created_at DESC, id DESC);
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    actor_id uuid NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    request_id text
);
CREATE TABLE events (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    name text NOT NULL,
    aggregate_id uuid NOT NULL,
    payload jsonb NOT NULL
);
