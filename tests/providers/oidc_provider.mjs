// A certified issuer of OpenID Connect on a free port, one client for each algorithm that ID tokens are signed with.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [secret, origin] = process.argv.slice(2);
const KEYS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};
const keys = Object.entries(KEYS).map(([alg, [type, options]]) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg,
}));
const clients = Object.keys(KEYS).map((alg) => ({
  client_id: `client-${alg}`,
  client_secret: secret,
  redirect_uris: [`${origin}/api/v1/auth/providers/${alg.toLowerCase()}/callback`],
  id_token_signed_response_alg: alg,
}));

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
    clients,
    jwks: { keys },
    enabledJWA: { idTokenSigningAlgValues: Object.keys(KEYS) },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    pkce: { required: () => true },
    cookies: { keys: ['of a test'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: !id.startsWith('unverified') }),
    }),
  });
  server.on('request', provider.callback());
  console.log(server.address().port);
});
