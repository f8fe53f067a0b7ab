// Fastify with pg, @fastify/jwt and @fastify/rate-limit, as their own pages have it: schemas in and out, one pool.
import Fastify from 'fastify'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import pg from 'pg'
import { randomUUID } from 'node:crypto'

const pool = new pg.Pool({ connectionString: process.env.BENCH_DATABASE_URL, max: 16 })
const app = Fastify({ logger: true })
await app.register(jwt, { secret: process.env.BENCH_SECRET })
await app.register(rateLimit, { max: 1_000_000, timeWindow: '1 minute' })

const order = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    user_id: { type: 'string' },
    status: { type: 'string' },
    total: { type: 'string' },
    lines: {
      type: 'array',
      items: {
        type: 'object',
        properties: { sku: { type: 'string' }, name: { type: 'string' }, quantity: { type: 'integer' }, price: { type: 'string' } },
      },
    },
    created_at: { type: 'string', format: 'date-time' },
    version: { type: 'integer' },
  },
}
const page = { type: 'object', properties: { items: { type: 'array', items: order }, next: { type: 'string', nullable: true } } }
const placement = {
  type: 'object',
  required: ['items'],
  additionalProperties: false,
  properties: {
    items: {
      type: 'array',
      minItems: 1,
      maxItems: 50,
      items: {
        type: 'object',
        required: ['sku', 'quantity'],
        additionalProperties: false,
        properties: { sku: { type: 'string', maxLength: 64 }, quantity: { type: 'integer', minimum: 1, maximum: 1000 } },
      },
    },
  },
}

const may = (scope) => async (request, reply) => {
  await request.jwtVerify()
  if (!request.user.scope.split(' ').includes(scope)) return reply.code(403).send({ error: 'Forbidden' })
}

const FIELDS = 'id, user_id, status, total, lines, created_at, version'
const ONE = { name: 'one', text: `SELECT ${FIELDS} FROM orders WHERE id = $1 AND user_id = $2` }
const PAGE = { name: 'page', text: `SELECT ${FIELDS} FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2` }
const LOCK = { name: 'lock', text: 'SELECT name, price, stock FROM products WHERE sku = $1 FOR UPDATE' }
const TAKE = { name: 'take', text: 'UPDATE products SET stock = stock - $2 WHERE sku = $1' }
const ORDER = { name: 'order', text: `INSERT INTO orders (${FIELDS}) VALUES ($1, $2, 'placed', $3, $4, now(), 1) RETURNING ${FIELDS}` }
const AUDIT = { name: 'audit', text: "INSERT INTO audit_log (id, at, actor_id, action, target) VALUES ($1, now(), $2, 'orders.placed', $3)" }
const EVENT = { name: 'event', text: "INSERT INTO events (id, at, name, aggregate_id, payload) VALUES ($1, now(), 'orders.placed', $2, $3)" }

app.get('/ready', async () => {
  await pool.query('SELECT 1')
  return { ready: true }
})

app.get(
  '/orders/:id',
  {
    onRequest: may('orders:read'),
    schema: { params: { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }, response: { 200: order } },
  },
  async (request, reply) => {
    const { rows } = await pool.query({ ...ONE, values: [request.params.id, request.user.sub] })
    return rows[0] ?? reply.code(404).send({ error: 'Not Found' })
  },
)

app.get(
  '/orders',
  {
    onRequest: may('orders:read'),
    schema: {
      querystring: { type: 'object', properties: { limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 } } },
      response: { 200: page },
    },
  },
  async (request) => {
    const { limit } = request.query
    const { rows } = await pool.query({ ...PAGE, values: [request.user.sub, limit + 1] })
    const last = rows.length > limit ? rows[limit - 1] : null
    return { items: rows.slice(0, limit), next: last && `${last.created_at.toISOString()}_${last.id}` }
  },
)

app.post(
  '/orders',
  { onRequest: may('orders:place'), schema: { body: placement, response: { 201: order } } },
  async (request, reply) => {
    const client = await pool.connect()
    try {
      await client.query('BEGIN')
      const placed = await place(client, request.body.items, request.user.sub)
      await client.query(placed ? 'COMMIT' : 'ROLLBACK')
      return placed ? reply.code(201).send(placed) : reply.code(409).send({ error: 'Out of stock' })
    } catch (error) {
      await client.query('ROLLBACK')
      throw error
    } finally {
      client.release()
    }
  },
)

async function place(client, items, buyer) {
  const lines = []
  for (const { sku, quantity } of items) {
    const { rows } = await client.query({ ...LOCK, values: [sku] })
    if (!rows.length || rows[0].stock < quantity) return null
    await client.query({ ...TAKE, values: [sku, quantity] })
    lines.push({ sku, name: rows[0].name, quantity, price: rows[0].price })
  }
  const cents = lines.reduce((sum, line) => sum + Math.round(Number(line.price) * 100) * line.quantity, 0)
  const { rows } = await client.query({ ...ORDER, values: [randomUUID(), buyer, (cents / 100).toFixed(2), JSON.stringify(lines)] })
  const placed = rows[0]
  await client.query({ ...AUDIT, values: [randomUUID(), buyer, placed.id] })
  await client.query({ ...EVENT, values: [randomUUID(), placed.id, { order_id: placed.id, total: placed.total }] })
  return placed
}

const stop = async () => {
  await app.close()
  await pool.end()
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
await app.listen({ host: '127.0.0.1', port: Number(process.env.BENCH_PORT) })
