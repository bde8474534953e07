// A disk that loses its power: what may be on it, given the calls up to a moment.
//
// What a completed fsync or fdatasync of a file covers is there. Of what was written, cut or chmodded since, any part may be
// there, by sectors of 512 bytes; a size may be there before its bytes, which are then zeros. What a name stands for is sure
// once its directory was synced; of the changes of names since, any may be there.
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, basename } from "node:path";

const SECTOR = 512;

/** Numbers that are the same for the same seed (mulberry32). */
export function randomOf(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const isDir = (node) => node.names !== undefined;
const newFile = (mode, bytes = Buffer.alloc(0)) => ({ base: { bytes, mode }, changes: [], synced: 0 });
const newDir = (mode) => ({ names: new Map(), mode });

function applied({ bytes, mode }, change) {
  if (change.kind === "mode") return { bytes, mode: change.mode };
  if (change.kind === "size") {
    const grown = Buffer.alloc(change.size);
    bytes.copy(grown);
    return { bytes: grown, mode };
  }
  const end = change.at + change.bytes.length;
  const grown = end > bytes.length ? Buffer.concat([bytes, Buffer.alloc(end - bytes.length)]) : Buffer.from(bytes);
  change.bytes.copy(grown, change.at);
  return { bytes: grown, mode };
}

/** The tree as every process sees it, and which of it is sure. Paths are absolute, at or below `root`. */
export class Disk {
  /** Every change of names, oldest first: {effects: [{dir, name, node}], isSure}. */
  #renames = [];
  /** Where the next write without a place goes, by path. */
  #places = new Map();
  #syncs = new Map();
  /** As names were when the record began. */
  #first;

  /** `before` holds what was at `root` when the record began, on the disk and sure. */
  constructor(root, before) {
    this.root = root;
    const read = (path) => {
      const mode = statSync(path).mode & 0o7777;
      if (!statSync(path).isDirectory()) return newFile(mode, readFileSync(path));
      const dir = newDir(mode);
      for (const name of readdirSync(path)) dir.names.set(name, read(`${path}/${name}`));
      return dir;
    };
    this.top = read(before);
    const names = (dir) => new Map([...dir.names].filter(([, node]) => isDir(node)).flatMap(([, node]) => [...names(node)]).concat([[dir, new Map(dir.names)]]));
    this.#first = names(this.top);
  }

  #find(path) {
    if (path === this.root) return this.top;
    if (!path.startsWith(`${this.root}/`)) return undefined;
    return path.slice(this.root.length + 1).split("/").reduce((dir, name) => dir?.names?.get(name), this.top);
  }

  #rename(...effects) {
    const done = effects.map(({ path, node }) => ({ dir: this.#find(dirname(path)), name: basename(path), node }));
    for (const { dir, name, node } of done) {
      if (node) dir.names.set(name, node);
      else dir.names.delete(name);
    }
    this.#renames.push({ effects: done, isSure: false });
  }

  #change(path, change) {
    const node = this.#find(path);
    // Made before the record, or gone already: nobody can see it.
    if (!node) return;
    if (isDir(node)) node.mode = change.mode ?? node.mode;
    else node.changes.push(change);
  }

  #write(path, at, bytes) {
    this.#change(path, { kind: "write", at, bytes });
  }

  #length(path) {
    return this.bytesOf(this.#find(path)).length;
  }

  /** A file as its processes see it. */
  bytesOf(node) {
    return node.changes.reduce(applied, node.base).bytes;
  }

  /** The next moment of a trace. */
  pass(moment) {
    if (moment.is === "end") {
      this.#syncs.get(moment.id)?.();
      return;
    }
    const { call, args, result, id } = moment;
    const absolute = (index) => {
      const given = args[index].text.toString();
      if (given.startsWith("/")) return given;
      return `${args[index - 1].path}/${given}`;
    };
    /** Of calls with or without a directory before the path: where the path is. */
    const at = args.findIndex((arg) => arg?.text);
    const ours = (path) => path === this.root || path.startsWith(`${this.root}/`);
    switch (call) {
      case "open":
      case "openat":
      case "creat": {
        const path = absolute(at);
        const flags = call === "creat" ? "O_CREAT|O_TRUNC" : args[at + 1];
        if (!ours(path) || /O_DIRECTORY/.test(flags)) return;
        const node = this.#find(path);
        const mode = parseInt(args.at(-1), 8) & 0o777;
        if (!node && /O_CREAT/.test(flags)) this.#rename({ path, node: newFile(mode & ~0o022) });
        else if (/O_TRUNC/.test(flags)) this.#change(path, { kind: "size", size: 0 });
        if (/O_WRONLY|O_RDWR/.test(flags)) this.#places.set(path, /O_APPEND/.test(flags) ? Infinity : 0);
        return;
      }
      case "write": {
        const { path, isGone } = args[0];
        if (!ours(path) || isGone) return;
        const place = this.#places.get(path) ?? 0;
        const from = place === Infinity ? this.#length(path) : place;
        this.#write(path, from, args[1].text.subarray(0, result));
        if (place !== Infinity) this.#places.set(path, from + result);
        return;
      }
      case "pwrite64":
        if (ours(args[0].path) && !args[0].isGone) this.#write(args[0].path, Number(args[3]), args[1].text.subarray(0, result));
        return;
      case "copy_file_range": {
        const [from, fromAt, to, toAt] = args;
        if (result === 0 || !ours(to.path)) return;
        if (fromAt !== "NULL" || toAt !== "NULL") throw new Error("copy_file_range with a place is not understood");
        const place = this.#places.get(to.path) ?? 0;
        const bytes = this.bytesOf(this.#find(from.path)).subarray(place, place + result);
        this.#write(to.path, place, Buffer.from(bytes));
        this.#places.set(to.path, place + result);
        return;
      }
      case "truncate":
      case "ftruncate": {
        const path = call === "truncate" ? absolute(0) : args[0].path;
        if (ours(path) && !args[0].isGone) this.#change(path, { kind: "size", size: Number(args[1]) });
        return;
      }
      case "chmod":
      case "fchmodat":
      case "fchmod": {
        const path = call === "fchmod" ? args[0].path : absolute(at);
        const mode = parseInt(call === "fchmod" ? args[1] : args[at + 1], 8) & 0o777;
        if (ours(path)) this.#change(path, { kind: "mode", mode });
        return;
      }
      case "mkdir":
      case "mkdirat":
        if (ours(absolute(at))) this.#rename({ path: absolute(at), node: newDir(parseInt(args[at + 1], 8) & ~0o022) });
        return;
      case "unlink":
      case "unlinkat":
      case "rmdir":
        if (ours(absolute(at))) this.#rename({ path: absolute(at), node: undefined });
        return;
      case "link":
      case "linkat":
      case "rename":
      case "renameat":
      case "renameat2": {
        const to = args.findLastIndex((arg) => arg?.text);
        const [old, now] = [absolute(at), absolute(to)];
        if (!ours(old) && !ours(now)) return;
        const node = this.#find(old);
        if (call.startsWith("link")) return this.#rename({ path: now, node });
        if (/RENAME_EXCHANGE/.test(args.at(-1))) return this.#rename({ path: now, node }, { path: old, node: this.#find(now) });
        return this.#rename({ path: old, node: undefined }, { path: now, node });
      }
      case "fsync":
      case "fdatasync": {
        const { path, isGone } = args[0];
        const node = ours(path) && !isGone && this.#find(path);
        if (!node) return;
        if (isDir(node)) {
          const covered = this.#renames.filter(({ effects }) => effects.some(({ dir }) => dir === node));
          this.#syncs.set(id, () => covered.forEach((change) => (change.isSure = true)));
        } else {
          const covered = node.changes.length;
          this.#syncs.set(id, () => (node.synced = Math.max(node.synced, covered)));
        }
        return;
      }
      default:
        if (args.some((arg) => arg?.path && ours(arg.path))) throw new Error(`${call} is not understood`);
    }
  }

  /** What may be found after a cut at this moment: see `files` and `names` of [`ways`]. */
  after(way, random) {
    const names = new Map([...this.#first].map(([dir, before]) => [dir, new Map(before)]));
    const chosen = way.names(this.#renames, random);
    for (const [index, { effects }] of this.#renames.entries()) {
      if (!chosen(index)) continue;
      for (const { dir, name, node } of effects) {
        if (!names.has(dir)) names.set(dir, new Map());
        if (node) names.get(dir).set(name, node);
        else names.get(dir).delete(name);
      }
    }
    const contents = new Map();
    const tree = (dir) => {
      const found = new Map();
      for (const [name, node] of names.get(dir) ?? []) {
        if (isDir(node)) found.set(name, { mode: node.mode, names: tree(node) });
        else {
          if (!contents.has(node)) contents.set(node, way.files(node, random));
          found.set(name, contents.get(node));
        }
      }
      return found;
    };
    return tree(this.top);
  }
}

/** A file of which every unit (of so many sectors) is as it was after some change since the last sync. */
function torn(node, random, sectors, pick) {
  const { changes, synced } = node;
  const last = changes.length;
  const content = changes.slice(0, synced).reduce(applied, node.base);
  if (synced === last) return content;
  // Sizes and modes come with the file system's own log, in their order.
  const sizes = pick.sizes(synced, last, random);
  const cutoffs = new Map();
  const unit = sectors * SECTOR;
  const cutoff = (index) => {
    if (!cutoffs.has(index)) cutoffs.set(index, pick.cutoff(synced, last, random));
    return cutoffs.get(index);
  };
  let { bytes, mode } = content;
  let size = bytes.length;
  let limit = Infinity;
  for (let index = synced; index < last; index++) {
    const change = changes[index];
    const isLogged = index < sizes;
    if (change.kind === "mode") {
      if (isLogged) mode = change.mode;
    } else if (change.kind === "size") {
      if (!isLogged) limit = Math.min(limit, change.size);
      else {
        size = change.size;
        bytes = applied({ bytes: bytes.subarray(0, size), mode }, change).bytes;
      }
    } else {
      const end = change.at + change.bytes.length;
      if (isLogged) size = Math.max(size, end);
      for (let from = change.at; from < end; ) {
        const to = Math.min(end, (Math.floor(from / unit) + 1) * unit);
        const isThere = to <= limit && pick.isThere(index, cutoff(Math.floor(from / unit)));
        if (isThere) bytes = applied({ bytes, mode }, { kind: "write", at: from, bytes: change.bytes.subarray(from - change.at, to - change.at) }).bytes;
        from = to;
      }
    }
  }
  return { bytes: applied({ bytes: bytes.subarray(0, size), mode }, { kind: "size", size }).bytes, mode };
}

const between = (low, high, random) => low + random(high - low + 1);
const anyPrefix = { sizes: between, cutoff: between, isThere: (index, cutoff) => index < cutoff };
const sure = (renames) => (index) => renames[index].isSure;

/** Ways in which a disk may come back: which names, and what of each file. */
const names = {
  all: () => () => true,
  sure,
  /** One log for the whole file system: what is older than something sure is sure. */
  ordered: (renames, random) => {
    const least = renames.findLastIndex(({ isSure }) => isSure) + 1;
    const most = between(least, renames.length, random);
    return (index) => index < most;
  },
  /** Each directory for itself, in its order. */
  directories: (renames, random) => {
    const most = new Map();
    for (const dir of new Set(renames.flatMap(({ effects }) => effects.map(({ dir }) => dir)))) {
      const own = renames.map((change, index) => ({ ...change, index })).filter(({ effects }) => effects.some((effect) => effect.dir === dir));
      const least = own.findLastIndex(({ isSure }) => isSure) + 1;
      const many = between(least, own.length, random);
      most.set(dir, many < own.length ? own[many].index : Infinity);
    }
    return (index) => renames[index].isSure || renames[index].effects.every(({ dir }) => index < most.get(dir));
  },
  /** Any of them. */
  any: (renames, random) => {
    const there = renames.map(({ isSure }) => isSure || random(2) === 1);
    return (index) => there[index];
  },
};
const files = {
  all: (node) => node.changes.reduce(applied, node.base),
  sure: (node) => node.changes.slice(0, node.synced).reduce(applied, node.base),
  /** In the order of the writes, some of them. */
  prefix: (node, random) => node.changes.slice(0, between(node.synced, node.changes.length, random)).reduce(applied, node.base),
  pages: (node, random) => torn(node, random, 8, anyPrefix),
  sectors: (node, random) => torn(node, random, 1, anyPrefix),
  /** The last changes alone: what came before them is missing. */
  late: (node, random) => {
    const from = between(node.synced, node.changes.length, random);
    return torn(node, random, 8, { sizes: (_, last) => last, cutoff: () => 0, isThere: (index) => index >= from });
  },
};
export const WAYS = {
  "everything": { names: names.all, files: files.all },
  "only what is sure": { names: names.sure, files: files.sure },
  "sure names, torn pages": { names: names.sure, files: files.pages },
  "sure names, torn sectors": { names: names.sure, files: files.sectors },
  "names in order, writes in order": { names: names.ordered, files: files.prefix },
  "names in order, torn sectors": { names: names.ordered, files: files.sectors },
  "names in order, late writes": { names: names.ordered, files: files.late },
  "names by directory, torn pages": { names: names.directories, files: files.pages },
  "any names, torn sectors": { names: names.any, files: files.sectors },
  "any names, late writes": { names: names.any, files: files.late },
  "all names, only synced bytes": { names: names.all, files: files.sure },
};

/** SHA-256 of a tree, so that none is looked at twice. */
export function digest(tree) {
  const sum = createHash("sha256");
  const add = (names, path) => {
    for (const [name, node] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
      sum.update(`${path}/${name} ${node.mode} ${node.names ? "dir" : node.bytes.length}\n`);
      if (node.names) add(node.names, `${path}/${name}`);
      else sum.update(node.bytes);
    }
  };
  add(tree, "");
  return sum.digest("hex");
}

/** Puts a tree where `place` is, instead of what is there. */
export function restore(tree, place) {
  rmSync(place, { recursive: true, force: true });
  const put = (names, path) => {
    for (const [name, node] of names) {
      const at = `${path}/${name}`;
      if (node.names) {
        mkdirSync(at);
        put(node.names, at);
      } else {
        writeFileSync(at, node.bytes);
      }
      chmodSync(at, node.mode);
    }
  };
  mkdirSync(place, { mode: 0o700 });
  put(tree, place);
}

/** Where a tree differs from the directory `place`; files whose name ends with one of `left` are not looked at. */
export function differences(tree, place, left) {
  const found = [];
  const look = (names, path) => {
    const there = existsSync(path) ? readdirSync(path) : [];
    for (const name of there) if (!names.has(name)) found.push(`${path}/${name} is not in the record`);
    for (const [name, node] of names) {
      const at = `${path}/${name}`;
      if (left.some((end) => name.endsWith(end))) continue;
      if (!there.includes(name)) found.push(`${at} is only in the record`);
      else if ((statSync(at).mode & 0o777) !== (node.mode & 0o777)) found.push(`${at} has mode ${statSync(at).mode.toString(8)}, ${node.mode.toString(8)} in the record`);
      else if (node.names) look(node.names, at);
      else if (!readFileSync(at).equals(node.bytes)) found.push(`${at} differs, ${statSync(at).size} and ${node.bytes.length} bytes`);
    }
  };
  look(tree, place);
  return found;
}
