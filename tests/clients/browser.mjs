// Chromium, told what to do by lines of JSON: each is answered by one with the same id, and a value or an error.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [executablePath] = process.argv.slice(2);
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath, args });
const people = new Map(), pages = new Map();

const doing = {
  // A page of a person: those of one have their cookies in common.
  async open({ page, person, url }) {
    if (!people.has(person)) people.set(person, await browser.newContext());
    pages.set(page, await people.get(person).newPage());
    await pages.get(page).goto(url);
  },
  call: ({ page, name, args }) => pages.get(page).evaluate(([name, args]) => globalThis[name](...args), [name, args]),
  close: ({ page }) => pages.get(page).close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...rest } = JSON.parse(line);
  doing[name](rest).then(
    (value) => process.stdout.write(JSON.stringify({ id, value: value ?? null }) + "\n"),
    (error) => process.stdout.write(JSON.stringify({ id, error: String(error) }) + "\n"),
  );
}
await browser.close();
process.exit(0);
