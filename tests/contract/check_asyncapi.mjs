// Is docs/asyncapi.json valid by AsyncAPI's own parser, and is each example a CloudEvent by that project's own SDK?
// node check_asyncapi.mjs FILE
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import { CloudEvent } from "cloudevents";

const NEWER_VERSION = "asyncapi-latest-version"; // a hint that 3.1 exists; tools that read 3.0 are more
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const faults = diagnostics.filter((one) => one.code !== NEWER_VERSION);
for (const { code, message, path } of faults) console.error(`${code}: ${message} (${path.join(".")})`);
if (!document || faults.length) process.exit(1);
const examples = document.allMessages().all().flatMap((message) => message.examples().all());
for (const example of examples) new CloudEvent(example.payload(), true); // strict: throws by the official schema
console.log(`${document.allChannels().all().length} channels, ${examples.length} examples`);
