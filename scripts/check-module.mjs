// Holds the shipped module to what Envoy may call and what the module may ask of Envoy:
//   node scripts/check-module.mjs target/filter/graylane_filter.wasm
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const file = process.argv[2];
const module = new WebAssembly.Module(fs.readFileSync(file));
const problems = [];

const allowed = fs
  .readFileSync(path.join(here, 'filter-exports.txt'), 'utf8')
  .split('\n')
  .filter((line) => line && !line.startsWith('#'));
const exported = WebAssembly.Module.exports(module).map((e) => e.name);
for (const name of exported) {
  if (!allowed.includes(name)) {
    problems.push(`exports ${name}: every export costs a call into the VM. Is wasm-opt missing, or filter-exports.txt stale?`);
  }
}
for (const name of ['memory', '_initialize', 'proxy_abi_version_0_2_1', 'proxy_on_memory_allocate', 'proxy_on_configure', 'proxy_on_request_headers']) {
  if (!exported.includes(name)) {
    problems.push(`does not export ${name}: Envoy cannot run it as a filter`);
  }
}

// What Rust's std imports when it may panic or look at the environment; nothing that opens files or sockets.
const wasi = ['environ_get', 'environ_sizes_get', 'fd_write', 'proc_exit', 'clock_time_get', 'random_get'];
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  const known = (from === 'env' && name.startsWith('proxy_')) || (from === 'wasi_snapshot_preview1' && wasi.includes(name));
  if (!known) {
    problems.push(`imports ${from}.${name}: Envoy does not give it to a filter`);
  }
}

// The shipped module only: variants for tests may be larger.
const size = fs.statSync(file).size;
const budgets = fs.readFileSync(path.join(here, '../benches/budgets.txt'), 'utf8');
const budget = budgets.match(new RegExp(`^size/${path.basename(file)} +([0-9_]+) +([0-9_]+)$`, 'm'));
if (budget) {
  const [floor, ceiling] = budget.slice(1).map((number) => Number(number.replaceAll('_', '')));
  if (size > ceiling) {
    problems.push(`has ${size} bytes, above its ceiling of ${ceiling} in benches/budgets.txt: see what grew (twiggy, wasm-objdump)`);
  }
  if (size < floor) {
    problems.push(`has ${size} bytes, below its floor of ${floor}. Good: lower both ends in benches/budgets.txt in the same commit`);
  }
}

for (const problem of problems) {
  console.error(`error: ${file} ${problem}`);
}
if (problems.length > 0) process.exit(1);
console.log(`${file}: ${size} bytes, ${exported.length} exports, ${WebAssembly.Module.imports(module).length} imports, all known`);
