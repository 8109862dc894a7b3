// Receives alerts: node subscriber.mjs settings.json desk.key trust.json
// Each new alert is one line of JSON on standard output; why a message was refused is on standard error.
import { randomBytes } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { calculateJwkThumbprint, CompactSign, importJWK } from "jose";
import { connect } from "mqtt";
import { opened, trustedUnits } from "./verify.mjs";

const read = (file) => readFileSync(file, "utf8");
const [given, mine, store] = process.argv.slice(2).map((file) => JSON.parse(read(file)));
const units = await trustedUnits(store, given.root);
const signKey = { kty: "OKP", crv: "Ed25519", x: mine.sign_x, d: mine.sign_d };
const sealKey = { kty: "OKP", crv: "X25519", x: mine.seal_x, d: mine.seal_d, key_ops: ["deriveBits"] };
const kept = new DatabaseSync(given.received);
kept.exec("CREATE TABLE IF NOT EXISTS received (unit TEXT, alert TEXT, PRIMARY KEY (unit, alert))");
const seen = kept.prepare("SELECT 1 FROM received WHERE unit = ? AND alert = ?");
const keep = kept.prepare("INSERT OR IGNORE INTO received VALUES (?, ?)");

async function take(topic, message) {
  const now = new Date();
  const [alert, jpeg] = await opened(topic, message, units, sealKey, now);
  const line = JSON.stringify({ ...alert, crop: jpeg.toString("base64") }) + "\n";
  if (!seen.get(alert.unit, alert.alert)) writeSync(1, line);
  keep.run(alert.unit, alert.alert); // on the disk; if that fails there is no receipt, and the unit sends again
  client.publish(`${given.topics}/${alert.unit}/receipt`, await receipt(alert, now.toISOString()), { qos: 1 });
}

async function receipt({ alert, unit }, now) {
  const header = { alg: "Ed25519", typ: "edgeagent-receipt", kid: await calculateJwkThumbprint(signKey) };
  const body = Buffer.from(JSON.stringify({ alert, unit, received_at: now }));
  const data = await new CompactSign(body).setProtectedHeader(header).sign(await importJWK(signKey, "Ed25519"));
  const event = { specversion: "1.0", id: alert, source: given.name, type: "edgeagent.receipt.v1", time: now };
  return JSON.stringify({ ...event, datacontenttype: "application/jose", data });
}

// Whoever knows a client id can throw us off; nobody can guess this one.
const clientId = `${given.name}.${randomBytes(16).toString("hex")}`;
const tls = { ca: read(given.ca), cert: read(given.certificate), key: read(given.key) };
const client = connect({ protocol: "mqtts", host: given.host, port: given.port, clientId, protocolVersion: 5, ...tls });
client.on("connect", () => client.subscribe(`${given.topics}/+/alert`, { qos: 1 }, (_, to) => console.error(to)));
client.on("message", (topic, message) => take(topic, message).catch((why) => console.error(`refused: ${why}`)));
client.on("error", (why) => console.error(`${why}`));
