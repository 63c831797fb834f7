// Every call of @comfyorg/sdk, once, against the server that COMFY_BASE_URL names. Prints what it saw, as JSON.
import { readFile, writeFile } from "node:fs/promises";
import { Comfy, InvalidWorkflow, JobFailed, MissingAsset, NotFound } from "@comfyorg/sdk";

const GRAPH = {
  1: { class_type: "LoadImage", inputs: { image: "" } },
  2: { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
  3: { class_type: "SaveImage", inputs: { filename_prefix: "node", images: ["2", 0] } },
};
const graph = () => structuredClone(GRAPH);
const refusal = (kind) => (error) => error instanceof kind ? error.code : `unexpected: ${error}`;
const kind = async (promise, wanted) => promise.then(() => "no error", refusal(wanted));

const client = new Comfy({ apiKey: process.env.COMFY_API_KEY });
const picture = process.argv[2];
const seen = {};

const asset = client.assets.fromFile(picture);
await asset.commit();
const again = client.assets.fromBytes(await readFile(picture), { filename: asset.filePath });
seen.dedup = [await again.commit() === asset.id, asset.createdNew, again.createdNew];
seen.asset = [(await client.assets.get(asset.id)).filePath, await asset.hash() === await again.hash(), asset.jobId ?? null];

await writeFile("workflow.json", JSON.stringify(graph()));
const workflow = await client.workflows.fromFile("workflow.json");
workflow.setInput("1", "image", asset);
const job = await client.submit(workflow);
const kinds = new Set();
let last;
for await (const event of job.events()) kinds.add((last = event).kind);
seen.events = [[...kinds].sort(), last.kind, last.status];
await job.wait(60_000);
seen.job = [job.status, job.outputs.length, (await client.jobs.get(job.id)).status, (await job.getWorkflow()).format];

const [output] = job.getOutputs("3");
const whole = await output.toBytes();
await output.toFile("whole.png");
await output.toFile("head.png", { range: [0, 7] });
const { url } = await output.getDownloadUrl();
seen.output = {
  facts: [output.type, output.contentType, output.name.endsWith(".png"), output.jobId === job.id],
  size: [output.sizeBytes === whole.length, (await readFile("whole.png")).equals(Buffer.from(whole))],
  head: (await readFile("head.png")).toString("latin1"),
  link: Buffer.from(await (await fetch(url)).arrayBuffer()).equals(Buffer.from(whole)),
};

const stream = await client.assets.fromStream((await fetch(url)).body, { filename: "stream.png" });
const fetched = await client.assets.fromUrl(url);
const chained = client.workflows.fromString(JSON.stringify(graph()));
chained.setInput("1", "image", stream);
const ran = await client.run(chained, { timeoutMs: 60_000 });
await fetched.commit();
seen.chained = [ran.status, (await ran.result()).id === ran.id];

const twice = await client.submit(client.workflows.fromJson(chained.json));
await twice.cancel();
seen.canceled = [twice.status, await kind(twice.result(), JobFailed)];

const broken = graph();
broken[2].inputs.image = ["7", 0];
const stray = graph();
stray[1].inputs.image = { __type: "core/ASSET", info: { id: "nope" } };
seen.refused = [
  await kind(client.submit(client.workflows.fromJson(broken)), InvalidWorkflow),
  await kind(client.submit(client.workflows.fromJson(stray)), MissingAsset),
  await kind(client.jobs.get("0".repeat(32)), NotFound),
];

await fetched.delete();
await client.assets.delete(stream.id);
seen.deleted = await kind(client.assets.get(fetched.id), NotFound);
console.log(JSON.stringify(seen));
