// Parse the AsyncAPI document named on the command line with the official parser; print what it
// finds, one line each, and exit 1 for anything worse than information.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const SEVERITIES = ["error", "warning", "information", "hint"];
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));

for (const { severity, code, path, message } of diagnostics) {
  console.log(`${SEVERITIES[severity]}: ${path.join("/")}: ${message} (${code})`);
}
if (document) {
  const count = (things) => things.all().length;
  console.log(
    `${count(document.channels())} channels, ${count(document.operations())} operations, ` +
      `${count(document.messages())} messages`,
  );
}
process.exitCode = document && diagnostics.every(({ severity }) => severity > 1) ? 0 : 1;
