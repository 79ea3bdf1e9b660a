// One library, one workload, one JSON line:
//   node --expose-gc peers.mjs LIBRARY type|live|fields|merge|saves MODULES [LIMIT_MS]
// What is measured is said at each workload. Times are the less of the clock's and of processor time, because
// the machine may be busy. A phase of a workload that is too slow for a library is ended after LIMIT_MS by the
// clock, and `part` says how much of it was done. bench_crdt.py ends what is slow elsewhere.
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { createRequire } from 'node:module';

const [, , library, workload, modules, limit] = process.argv;
const require = createRequire(path.join(modules, 'package.json'));
const load = (name) => import(require.resolve(name));
const LIMIT_MS = 6000, RECORDS = 1000, EDITS = 100000, MERGED = 50000;
const FIELDS = ['id', 'name', 'email', 'phone', 'city', 'street', 'zip', 'status', 'owner', 'created',
  'updated', 'amount', 'currency', 'notes', 'tag', 'priority', 'due', 'score', 'url', 'active'];

// ---- libraries: make(actor, bytes?) → text: edit, text; map: set, json; both: change, save, merge ----

const makers = {
  async yjs() {
    const Y = await import(require.resolve('yjs').replace(/\.cjs$/, '.mjs'));
    return (actor, bytes) => {
      const doc = new Y.Doc();
      if (actor) doc.clientID = 4000000000 + actor;
      if (bytes) Y.applyUpdate(doc, bytes, 'merge');
      const text = doc.getText('t'), map = doc.getMap('m');
      const peer = {
        change: (fn) => doc.transact(fn),
        edit(at, del, ins) { if (del) text.delete(at, del); if (ins) text.insert(at, ins); },
        set(record, field, value) {
          let r = map.get(record);
          if (!r) map.set(record, r = new Y.Map());
          r.set(field, value);
        },
        text: () => text.toString(), json: () => map.toJSON(),
        save: () => Y.encodeStateAsUpdateV2(doc), load: (b) => { const d = new Y.Doc(); Y.applyUpdateV2(d, b); return d.getText('t').toString(); },
        merge: (u) => Y.applyUpdate(doc, u, 'merge'),
        mergeAll: (us) => doc.transact(() => us.forEach((u) => Y.applyUpdate(doc, u, 'merge')), 'merge'),
      };
      doc.on('update', (u, origin) => { if (origin !== 'merge') peer.told?.(u); });
      return peer;
    };
  },
  async automerge() {
    const A = await load('@automerge/automerge');
    const seed = A.save(A.change(A.init({ actor: '00' }), { time: 0 }, (d) => { d.t = ''; d.m = {}; }));
    return (actor, bytes) => {
      let doc = A.load(bytes ?? seed, actor ? { actor: `aa${actor.toString(16).padStart(30, '0')}` } : {});
      let draft = null;
      const peer = {
        change(fn) {
          doc = A.change(doc, (d) => { draft = d; fn(); });
          const u = A.getLastLocalChange(doc);
          if (u) peer.told?.(u);
        },
        edit: (at, del, ins) => A.splice(draft, ['t'], at, del, ins),
        set(record, field, value) { (draft.m[record] ??= {}, draft.m[record])[field] = value; },
        text: () => doc.t, json: () => A.toJS(doc).m,
        save: () => A.save(doc), load: (b) => A.load(b).t,
        merge: (u) => { [doc] = A.applyChanges(doc, [u]); },
        mergeAll: (us) => { [doc] = A.applyChanges(doc, us); },
      };
      return peer;
    };
  },
  async loro() {
    const { LoroDoc, LoroMap } = require('loro-crdt');
    return (actor, bytes) => {
      const doc = new LoroDoc();
      if (actor) doc.setPeerId(BigInt(actor) + 10000000000n);
      if (bytes) doc.import(bytes);
      const text = doc.getText('t'), map = doc.getMap('m');
      const peer = {
        change(fn) { fn(); doc.commit(); },
        edit(at, del, ins) { if (del) text.delete(at, del); if (ins) text.insert(at, ins); },
        set(record, field, value) {
          (map.get(record) ?? map.setContainer(record, new LoroMap())).set(field, value);
        },
        text: () => text.toString(), json: () => map.toJSON(),
        save: () => doc.export({ mode: 'snapshot' }),
        load: (b) => { const d = new LoroDoc(); d.import(b); return d.getText('t').toString(); },
        merge: (u) => doc.import(u), mergeAll: (us) => doc.importBatch(us),
      };
      doc.subscribeLocalUpdates((u) => peer.told?.(u));
      return peer;
    };
  },
  async 'json-joy'() {
    const { Model } = require('json-joy/lib/json-crdt');
    const { Patch, s } = require('json-joy/lib/json-crdt-patch');
    const seed = Model.create(s.obj({ t: s.str(''), m: s.obj({}) }), 70000).toBinary();
    return (actor, bytes) => {
      const model = Model.load(bytes ?? seed, actor ? 8000000000000000 + actor : undefined);
      const text = model.api.str(['t']), map = model.api.obj(['m']);
      const peer = {
        change(fn) {
          fn();
          const patch = model.api.flush();
          if (patch?.ops.length) peer.told?.(patch.toBinary());
        },
        edit(at, del, ins) { if (del) text.del(at, del); if (ins) text.ins(at, ins); },
        set(record, field, value) {
          if (!map.node.get(record)) map.set({ [record]: {} });
          model.api.obj(['m', record]).set({ [field]: value });
        },
        text: () => text.view(), json: () => map.view(),
        save: () => model.toBinary(), load: (b) => Model.load(b).api.str(['t']).view(),
        merge: (u) => model.applyPatch(Patch.fromBinary(u)),
      };
      return peer;
    };
  },
  async 'diamond-types'() {
    const { Doc } = require('diamond-types-node');
    return (actor) => {
      const doc = new Doc(`a${actor ?? 0}`);
      let seen = doc.getLocalVersion();
      const peer = {
        change(fn) {
          fn();
          if (!peer.told) return;
          peer.told(doc.getPatchSince(seen));
          seen = doc.getLocalVersion();
        },
        edit(at, del, ins) { if (del) doc.del(at, del); if (ins) doc.ins(at, ins); },
        text: () => doc.get(), save: () => doc.toBytes(),
        load: (b) => Doc.fromBytes(b, 'x').get(),
        merge: (u) => { doc.mergeBytes(u); seen = doc.getLocalVersion(); },
      };
      return peer;
    };
  },
};

// ---- workloads ---------------------------------------------------------------------------------------

const now = () => ({ wall: performance.now(), cpu: process.cpuUsage() });
function since(start) {
  const { user, system } = process.cpuUsage(start.cpu);
  return Math.min(performance.now() - start.wall, (user + system) / 1000);
}
const trace = (name) => JSON.parse(zlib.gunzipSync(
  fs.readFileSync(new URL(`traces/${name}.json.gz`, import.meta.url))));

function best(times, fn) {
  let least = Infinity;
  for (let i = 0; i < times; i++) {
    global.gc?.();
    const start = now();
    fn();
    least = Math.min(least, since(start));
  }
  return least;
}

function same(got, want, what) {
  if (got !== want) throw new Error(`${library}: ${what} differs`);
}

// Does each item until the limit; returns [milliseconds, how many].
function timed(items, fn) {
  const start = now();
  let n = 0;
  for (const item of items) {
    fn(item);
    if ((++n & 63) === 0 && performance.now() - start.wall > LIMIT_MS) break;
  }
  return [since(start), n];
}

// The automerge paper, each keystroke a change and an update of its own; then what is stored, and loading it.
function type(make) {
  const { txns, endContent } = trace('automerge-paper');
  const patches = txns.flatMap((t) => t.patches);
  const peer = make(1);
  let bytes = 0, updates = 0;
  peer.told = (u) => { bytes += u.length; updates++; };
  const [ms, n] = timed(patches, ([at, del, ins]) => peer.change(() => peer.edit(at, del, ins)));
  peer.told = null;
  const part = n / patches.length, update_bytes = bytes / updates;
  for (let i = n; i < patches.length; i += 2000) {
    peer.change(() => patches.slice(i, i + 2000).forEach((p) => peer.edit(...p)));
  }
  same(peer.text(), endContent, 'the paper');
  const saved = peer.save();
  const load_ms = best(part < 1 ? 2 : 5, () => same(peer.load(saved), endContent, 'what was loaded'));
  return { each_us: ms * 1000 / n, update_bytes, part, history_bytes: saved.length, load_ms };
}

// Two people typing at the same time: a third gets all their changes, one by one.
function live(make) {
  const { txns, endContent, numAgents } = trace('friendsforever');
  const peers = Array.from({ length: numAgents }, (_, i) => make(i + 1));
  const has = peers.map(() => new Set());
  const updates = [];
  let keystrokes = 0;
  const [made_ms, n] = timed(txns.keys(), (i) => {
    const { agent, parents, patches } = txns[i], missing = [], todo = [...parents];
    while (todo.length) {
      const p = todo.pop();
      if (has[agent].has(p)) continue;
      has[agent].add(p);
      missing.push(p);
      todo.push(...txns[p].parents);
    }
    peers[agent].told = null;
    missing.sort((a, b) => a - b).forEach((p) => updates[p].forEach((u) => peers[agent].merge(u)));
    updates[i] = [];
    peers[agent].told = (u) => updates[i].push(u.slice());
    peers[agent].change(() => patches.forEach((p) => peers[agent].edit(...p)));
    has[agent].add(i);
    keystrokes += patches.length;
  });
  const all = updates.filter((u) => u).flat(), part = n / txns.length;
  let done = all.length;
  const merge_ms = best(part < 1 ? 1 : 3, () => {
    if (done < all.length) return;
    const third = make(9);
    done = timed(all, (u) => third.merge(u))[1];
    if (part === 1 && done === all.length) same(third.text(), endContent, 'the merged text');
  });
  return { merge_ms, part: part * done / all.length, made_ms, keystrokes };
}

// Numbers and values as tests/bench/fields.c makes them.
function numbers(seed) {
  let s = seed;
  return () => {
    s ^= s << 13; s >>>= 0;
    s ^= s >>> 17;
    s ^= s << 5; s >>>= 0;
    return s / 4294967296;
  };
}
const WORDS = 'amber basin cedar delta ember fjord grove heron inlet jetty knoll larch marsh north otter'.split(' ');
function value(r, field) {
  const k = r();
  if (field === 'active') return k < 0.5;
  if (['amount', 'score', 'priority'].includes(field)) return Math.floor(r() * 100000) / 100;
  return Array.from({ length: 1 + Math.floor(k * 5) }, () => WORDS[Math.floor(r() * WORDS.length)]).join(' ');
}
const record = (i) => `rec-${String(i).padStart(4, '0')}`;
function seedRecords() {
  const r = numbers(42);
  return Array.from({ length: RECORDS }, (_, i) =>
    Object.fromEntries(FIELDS.map((f) => [f, f === 'id' ? i : value(r, f)])));
}
function edits(seed, count) {
  const r = numbers(seed);
  return Array.from({ length: count }, () => {
    const i = Math.floor(r() ** 2 * RECORDS), f = FIELDS[1 + Math.floor(r() * (FIELDS.length - 1))];
    return [i, f, value(r, f)];
  });
}
function fill(peer) {
  seedRecords().forEach((r, i) => peer.change(() => FIELDS.forEach((f) => peer.set(record(i), f, r[f]))));
}

// 100,000 edits of one field of 1,000 records with 20 each, in one document; each a change and an update.
function fields(make) {
  const peer = make(1);
  fill(peer);
  let bytes = 0, updates = 0;
  peer.told = (u) => { bytes += u.length; updates++; };
  const all = edits(7, EDITS);
  const [ms, n] = timed(all, ([i, f, v]) => peer.change(() => peer.set(record(i), f, v)));
  return { each_us: ms * 1000 / n, update_bytes: bytes / updates, part: n / EDITS };
}

// Two who made 50,000 such edits each: one takes in the other's.
function merge(make) {
  const first = make(1), a = [], start = [];
  first.told = (u) => start.push(u.slice());
  fill(first);
  const make_one = (actor, seed, told) => {
    const peer = make(actor);
    start.forEach((u) => peer.merge(u));
    peer.told = (u) => told.push(u.slice());
    const [, n] = timed(edits(seed, MERGED), ([i, f, v]) => peer.change(() => peer.set(record(i), f, v)));
    peer.told = null;
    return [peer, n];
  };
  const [, n] = make_one(2, 11, a);
  const one = make_one(3, 13, [])[0];
  const [ms, done] = timed(a, (u) => one.merge(u));
  const result = { one_by_one_ms: ms, part: n / MERGED * done / a.length };
  if (one.mergeAll) {
    const all = make_one(3, 13, [])[0];
    const begin = now();
    all.mergeAll(a.slice(0, done));
    result.batch_ms = since(begin);
  }
  return result;
}

// A record is a file, and a document: 100,000 saves of whole files, each with one field changed. A save is parsed,
// compared, becomes an update, and the file is written anew from the document.
function saves(make) {
  const now_is = seedRecords();
  const files = edits(7, EDITS).map(([i, f, v]) => {
    now_is[i][f] = v;
    return [i, JSON.stringify(now_is[i])];
  });
  const docs = seedRecords().map((r) => {
    const peer = make(1);
    peer.change(() => FIELDS.forEach((f) => peer.set('r', f, r[f])));
    return peer;
  });
  let bytes = 0, updates = 0;
  docs.forEach((d) => { d.told = (u) => { bytes += u.length; updates++; }; });
  const [ms, n] = timed(files, ([i, text]) => {
    const next = JSON.parse(text), last = docs[i].json().r;
    const changed = FIELDS.filter((f) => next[f] !== last[f]);
    docs[i].change(() => changed.forEach((f) => docs[i].set('r', f, next[f])));
    if (JSON.stringify(docs[i].json().r).length < 2) throw new Error('empty');
  });
  return { each_us: ms * 1000 / n, update_bytes: bytes / updates, part: n / EDITS };
}

const workloads = { type, live, fields, merge, saves };
const make = await makers[library]();
console.log(JSON.stringify({ library, workload, ...workloads[workload](make) }));
