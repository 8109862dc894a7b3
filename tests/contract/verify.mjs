// What an alert must be before anything of it is believed: octets in, alert and picture out, or an error.
import { isDeepStrictEqual } from "node:util";
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { calculateJwkThumbprint as thumbprint, compactVerify, decodeProtectedHeader } from "jose";

const hpke = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const octets = (text) => Buffer.from(text, "base64url");
const ed25519 = (x) => ({ kty: "OKP", crv: "Ed25519", x });
const refuse = (wrong, why) => { if (wrong) throw new Error(why); };

// What a token says, if this key signed it as this type of document.
async function said(token, typ, key) {
  const { payload, protectedHeader } = await compactVerify(token, key, { algorithms: ["Ed25519"] });
  refuse(!isDeepStrictEqual(protectedHeader, { alg: "Ed25519", typ, kid: await thumbprint(key) }), "wrong header");
  return JSON.parse(Buffer.from(payload));
}

// The units' lines of the trust store, by thumbprint; `root` is the one that you were told by voice.
export async function trustedUnits({ payload, signatures: [one, ...more] }, root) {
  const key = ed25519(JSON.parse(octets(payload)).root_x);
  refuse((await thumbprint(key)) !== root || more.length, "a trust store of another root");
  const { keys } = await said(`${one.protected}.${payload}.${one.signature}`, "edgeagent-trust-store", key);
  const units = keys.filter((k) => k.role === "unit" && !k.revoked);
  return new Map(await Promise.all(units.map(async (k) => [await thumbprint(ed25519(k.sign_x)), k])));
}

// The alert in a message, and the picture in the alert (JPEG).
export async function opened(topic, message, units, key, now) {
  const token = JSON.parse(message).data, time = Date.parse;
  const unit = units.get(decodeProtectedHeader(token).kid);
  refuse(!unit, "signed by a key that does not count");
  const alert = await said(token, "edgeagent-alert", ed25519(unit.sign_x));
  const root = alert.kind === "bench" ? "lfr-bench" : "lfr";
  refuse(alert.unit !== unit.name, "signed by another unit");
  refuse(topic !== `${root}/v1/${unit.name}/alert`, "on another unit's topic, or a bench's on a live one");
  refuse(!(time(unit.not_before) <= now && now < time(unit.not_after)), "signed with a key not valid now");
  refuse(!(now < time(alert.expires_at)), "expired");
  const info = Buffer.from(`edgeagent alert crop 1\0${alert.unit}\0${alert.alert}`), sealed = octets(alert.crop);
  const to = { recipientKey: await hpke.kem.importKey("jwk", key, false), enc: sealed.subarray(0, 32), info };
  return [alert, Buffer.from(await hpke.open(to, sealed.subarray(32)))];
}
