// An issuer that signs and answers what it is told to. POST /behave on the second port: {claims, header, token, userinfo}.
import { createServer } from 'node:http';
import { OAuth2Server } from 'oauth2-mock-server';

const issuer = new OAuth2Server();
await issuer.issuer.keys.generate('RS256');
await issuer.start(0, '127.0.0.1');
issuer.issuer.url = `http://127.0.0.1:${issuer.address().port}`;

let told = {};
const put = (target, changes) => {
  for (const [name, value] of Object.entries(changes ?? {})) {
    if (value === null) delete target[name];
    else target[name] = value;
  }
};
issuer.service.on('beforeTokenSigning', (token) => {
  put(token.payload, { email: 'ann@example.com', email_verified: true, ...told.claims });
  put(token.header, told.header);
});
issuer.service.on('beforeResponse', (answer) => {
  if (told.token?.status) answer.statusCode = told.token.status;
  put(answer.body, told.token?.body);
});

const control = createServer(async (request, answer) => {
  let body = '';
  for await (const part of request) body += part;
  told = JSON.parse(body);
  answer.end();
});
control.listen(0, '127.0.0.1', () => console.log(issuer.address().port, control.address().port));
