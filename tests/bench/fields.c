/*
 * core/ by the numbers, on records of JSON: 1,000 of 20 fields, and edits of one field each.
 *
 *   build/release/tests/bench/fields DIR [EDITS]      a new directory for databases; 100,000 edits
 *
 * The records and edits are those of tests/bench/crdt/peers.mjs. Prints one line, a JSON object. Times are the less
 * of the clock's and of processor time, because the machine may be busy:
 *
 *   edit_us         an edit in memory: its operation made, applied and encoded as a change
 *   save_us         a save in memory: the whole file compared, applied, encoded and rendered
 *   plain_bytes     mean size of these changes, each by itself
 *   batch_bytes     and of those of an envelope, 256 together (core/batch.h)
 *   stratum_bytes   and as they are kept in the end, 4,096 together, compressed and sealed (core/stratum.h)
 *   db_us           a whole-file save through core/db.h, LevelDB included
 *   synced_us       the same with a barrier (fsync) after each
 *   sealed_bytes    mean size of a change in an envelope of 256
 *   alone_bytes     and of one sealed alone: nonce, signature and all
 *   merge_ms        half as many changes of another, who edited at the same time: decoded, applied, rendered
 *   db_merge_ms     the same through core/db.h: envelopes opened, verified, applied, in LevelDB
 */
#include "core/batch.h"
#include "core/db.h"
#include "core/stratum.h"
#include "tests/bench/measure.h"

#include <math.h>

#define RECORDS 1000
#define FIELDS 20
#define TEXT_BYTES 64
#define SYNCED 500
#define BATCH ENVELOPE_CHANGES_MAX
#define SEALED (16 * BATCH)

static const char *const names[FIELDS] = {
	"id",	  "name",     "email",	 "phone",   "city",   "street",	  "zip",
	"status", "owner",    "created", "updated", "amount", "currency", "notes",
	"tag",	  "priority", "due",	 "score",   "url",    "active",
};
static const char *const words[] = {
	"amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heron",
	"inlet", "jetty", "knoll", "larch", "marsh", "north", "otter",
};

struct record {
	char values[FIELDS][TEXT_BYTES];
};

struct edit {
	uint32_t record;
	uint32_t field;
	char value[TEXT_BYTES];
};

/* ---- the same numbers as in JavaScript ----------------------------------------------------------- */

static double number(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s / 4294967296.0;
}

static void make_value(uint32_t *s, const char *name, char out[TEXT_BYTES])
{
	double k = number(s);
	size_t n = 0;

	if (strcmp(name, "active") == 0) {
		(void)snprintf(out, TEXT_BYTES, "%s", k < 0.5 ? "true" : "false");
	} else if (strcmp(name, "amount") == 0 || strcmp(name, "score") == 0 ||
		   strcmp(name, "priority") == 0) {
		(void)snprintf(out, TEXT_BYTES, "%g", floor(number(s) * 100000) / 100);
	} else {
		out[n++] = '"';
		for (int i = 0; i < 1 + (int)(k * 5); i++)
			n += (size_t)snprintf(out + n, TEXT_BYTES - n, "%s%s", i ? " " : "",
					      words[(size_t)(number(s) * countof(words))]);
		(void)snprintf(out + n, TEXT_BYTES - n, "\"");
	}
}

static struct record *make_records(void)
{
	struct record *list = xcalloc(RECORDS, sizeof(*list));
	uint32_t s = 42;

	for (int i = 0; i < RECORDS; i++) {
		(void)snprintf(list[i].values[0], TEXT_BYTES, "%d", i);
		for (int f = 1; f < FIELDS; f++)
			make_value(&s, names[f], list[i].values[f]);
	}
	return list;
}

static struct edit *make_edits(uint32_t seed, uint32_t count)
{
	struct edit *list = xcalloc(count, sizeof(*list));

	for (uint32_t i = 0; i < count; i++) {
		double q = number(&seed);

		list[i].record = (uint32_t)(q * q * RECORDS);
		list[i].field = 1 + (uint32_t)(number(&seed) * (FIELDS - 1));
		make_value(&seed, names[list[i].field], list[i].value);
	}
	return list;
}

/* A record's file, as a program writes it. */
static void put_file(const struct record *r, struct buf *out)
{
	buf_clear(out);
	for (int f = 0; f < FIELDS; f++)
		buf_printf(out, "%s\"%s\":%s", f ? "," : "{", names[f], r->values[f]);
	buf_u8(out, '}');
}

static void apply_edit(struct record *list, const struct edit *e)
{
	memcpy(list[e->record].values[e->field], e->value, TEXT_BYTES);
}

/* ---- time ------------------------------------------------------------------------------------------ */

struct watch {
	uint64_t wall;
	uint64_t cpu;
};

static uint64_t cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct watch start(void)
{
	return (struct watch){now_ns(), cpu_ns()};
}

static double since_ns(struct watch w)
{
	double wall = (double)(now_ns() - w.wall);
	double cpu = (double)(cpu_ns() - w.cpu);

	return wall < cpu ? wall : cpu;
}

/* ---- documents in memory --------------------------------------------------------------------------- */

struct side {
	struct doc *docs[RECORDS];
	uint64_t actor;
	uint64_t lamport;
	uint64_t hlc;
};

static struct id node_of(uint32_t record)
{
	struct id id = {{(uint8_t)record, (uint8_t)(record >> 8), 1}};

	return id;
}

static void apply_all(struct side *s, uint32_t record, const struct ops *ops, uint64_t actor,
		      uint64_t hlc)
{
	for (size_t i = 0; i < ops->count; i++)
		doc_apply(s->docs[record], &ops->items[i],
			  (struct opid){ops->items[i].lamport, actor}, hlc);
}

/* What the save became. Nothing is applied. */
static void compare(struct side *s, uint32_t record, struct slice file, struct ops *ops)
{
	const struct id node = node_of(record);
	const struct doc_stamp stamp = {
		.actor = s->actor, .hlc = s->hlc += 1 << 16, .lamport = &s->lamport};

	(void)doc_diff(s->docs[record], file, true, &node, &stamp, ops);
}

static void encode(const struct side *s, struct ops *ops, struct buf *out)
{
	struct change c = {.actor = s->actor, .hlc = s->hlc, .ops = *ops};

	change_encode(&c, out);
}

static void fill(struct side *s, uint64_t actor)
{
	AUTO(free_ptr) struct record *list = make_records();
	AUTO(buf_fini) struct buf file = {0};

	*s = (struct side){.actor = 1, .hlc = UINT64_C(1700000000000) << 16};
	for (uint32_t i = 0; i < RECORDS; i++) {
		AUTO(ops_fini) struct ops ops = {0};

		s->docs[i] = doc_create();
		put_file(&list[i], &file);
		compare(s, i, buf_slice(&file), &ops);
		apply_all(s, i, &ops, s->actor, s->hlc);
	}
	s->actor = actor;
}

static void empty(struct side *s)
{
	for (int i = 0; i < RECORDS; i++)
		doc_destroy(s->docs[i]);
}

/* Saves whole files. Their changes go to `changes` if not NULL. Returns nanoseconds. */
static double save_all(struct side *s, const struct edit *edits, uint32_t count, struct buf *changes)
{
	AUTO(free_ptr) struct record *list = make_records();
	AUTO(buf_fini) struct buf file = {0};
	AUTO(buf_fini) struct buf change = {0};
	AUTO(buf_fini) struct buf shown = {0};
	double total = 0;

	for (uint32_t i = 0; i < count; i++) {
		AUTO(ops_fini) struct ops ops = {0};
		uint32_t r = edits[i].record;

		apply_edit(list, &edits[i]);
		put_file(&list[r], &file);
		struct watch w = start();
		compare(s, r, buf_slice(&file), &ops);
		apply_all(s, r, &ops, s->actor, s->hlc);
		buf_clear(&change);
		encode(s, &ops, &change);
		buf_clear(&shown);
		doc_render(s->docs[r], &shown);
		total += since_ns(w);
		assert(slice_eq(buf_slice(&shown), buf_slice(&file)));
		if (changes)
			buf_bytes(changes, buf_slice(&change));
	}
	return total;
}

/* The operations those saves became, made, applied and encoded one by one. Returns nanoseconds. */
static double edit_all(struct slice changes, uint32_t count, size_t *ret_bytes)
{
	AUTO(free_ptr) struct side *s = xcalloc(1, sizeof(*s));
	AUTO(free_ptr) struct change *list = xcalloc(count, sizeof(*list));
	AUTO(buf_fini) struct buf out = {0};
	struct reader r = reader_init(changes);

	fill(s, 2);
	for (uint32_t i = 0; i < count; i++)
		assert(change_decode(reader_bytes(&r, changes.len), 2, &list[i]) == 0);
	*ret_bytes = 0;
	struct watch w = start();
	for (uint32_t i = 0; i < count; i++) {
		struct change c = {.actor = 2, .hlc = list[i].hlc};

		for (size_t k = 0; k < list[i].ops.count; k++) {
			const struct op *from = &list[i].ops.items[k];
			struct op *op = ops_add(&c.ops, from->kind, &from->node, from->lamport);

			*op = *from;
			memcpy(ops_preds(&c.ops, op, from->pred_count), from->preds,
			       from->pred_count * sizeof(*op->preds));
			doc_apply(s->docs[(size_t)op->node.b[0] | (size_t)op->node.b[1] << 8], op,
				  (struct opid){op->lamport, 2}, c.hlc);
		}
		buf_clear(&out);
		change_encode(&c, &out);
		*ret_bytes += out.len;
		ops_fini(&c.ops);
	}
	double ns = since_ns(w);
	for (uint32_t i = 0; i < count; i++)
		change_fini(&list[i]);
	empty(s);
	return ns;
}

/* Up to `count` of the changes in r, as they stand there. */
static struct slice take_changes(struct reader *r, size_t count, size_t *ret_count)
{
	const uint8_t *start = r->p;

	for (*ret_count = 0; *ret_count < count && reader_left(r); (*ret_count)++)
		(void)reader_bytes(r, SIZE_MAX);
	return SLICE(start, (size_t)(r->p - start));
}

/* Bytes of the changes in batches. */
static size_t batch_size(struct slice changes)
{
	AUTO(buf_fini) struct buf coded = {0};
	struct reader r = reader_init(changes);
	size_t count;

	while (reader_left(&r)) {
		struct slice part = take_changes(&r, BATCH, &count);

		batch_encode(2, part, count, &coded);
	}
	return coded.len;
}

/* Bytes of the changes in strata. */
static size_t stratum_size(struct slice changes)
{
	AUTO(buf_fini) struct buf packed = {0};
	struct stratum_part parts[STRATUM_CHANGES / BATCH];
	const uint8_t root_key[DIGEST_BYTES] = {1};
	const struct envelope_place at = {.root_key = root_key, .actor = 2};
	struct reader r = reader_init(changes);
	uint64_t seq = 1;

	while (reader_left(&r)) {
		struct stratum s = {.seq_first = seq, .parts = parts};
		size_t count;

		for (; s.part_count < countof(parts) && reader_left(&r); s.part_count++) {
			struct slice part = take_changes(&r, BATCH, &count);

			parts[s.part_count] = (struct stratum_part){.count = count, .changes = part};
			s.count += count;
		}
		stratum_pack(&at, &s, &packed);
		seq += s.count;
	}
	return packed.len;
}

/* One takes in what another did at the same time. Returns nanoseconds. */
static double merge(uint32_t count)
{
	AUTO(free_ptr) struct side *a = xcalloc(1, sizeof(*a));
	AUTO(free_ptr) struct side *b = xcalloc(1, sizeof(*b));
	AUTO(free_ptr) struct edit *ours = make_edits(11, count);
	AUTO(free_ptr) struct edit *theirs = make_edits(13, count);
	AUTO(buf_fini) struct buf changes = {0};
	AUTO(buf_fini) struct buf shown = {0};

	fill(a, 2);
	fill(b, 3);
	(void)save_all(a, ours, count, NULL);
	(void)save_all(b, theirs, count, &changes);
	struct watch w = start();
	struct reader r = reader_init(buf_slice(&changes));
	while (reader_left(&r)) {
		struct change c;

		assert(change_decode(reader_bytes(&r, changes.len), 3, &c) == 0);
		for (size_t i = 0; i < c.ops.count; i++) {
			const struct op *op = &c.ops.items[i];
			uint32_t record = (uint32_t)op->node.b[0] | (uint32_t)op->node.b[1] << 8;

			doc_apply(a->docs[record], op, (struct opid){op->lamport, 3}, c.hlc);
		}
		change_fini(&c);
	}
	for (int i = 0; i < RECORDS; i++) {
		buf_clear(&shown);
		doc_render(a->docs[i], &shown);
	}
	double ns = since_ns(w);
	empty(a);
	empty(b);
	return ns;
}

/* ---- databases ------------------------------------------------------------------------------------- */

struct device_here {
	struct keys *keys;
	struct db *db;
	struct id dir;
	struct id records[RECORDS];
	struct record *list; /* what they hold */
};

static struct db *open_db(const char *dir, const struct keys *keys)
{
	struct why why = {""};
	struct db *db = NULL;

	if (db_open(dir, keys, NULL, &db, &why) != 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	return db;
}

static void save_db(struct device_here *d, uint32_t record, struct slice file)
{
	struct txn *t = db_begin(d->db);

	assert(db_put_content(t, &d->records[record], NULL, file) >= 0);
	assert(db_commit(t) == 0);
}

static void make_db(struct device_here *d, const char *dir)
{
	AUTO(free_ptr) char *path = xasprintf("%s/a", dir);
	AUTO(free_ptr) char *key = xasprintf("%s/a.key", dir);
	AUTO(buf_fini) struct buf file = {0};
	struct why why;

	d->list = make_records();
	assert(keys_create(key, "a", &d->keys, &why) == 0);
	assert(db_create(path, "bench", d->keys, &why) == 0);
	d->db = open_db(path, d->keys);
	struct id root = db_root(d->db);
	struct txn *t = db_begin(d->db);
	(void)db_new_id(t, &root, "records", NODE_DIR, 0, &d->dir);
	assert(db_put_node(t, &d->dir, NODE_DIR, &root, "records") == 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "rec-%04u.json", i);
		(void)db_new_id(t, &d->dir, name, NODE_RECORD, 0, &d->records[i]);
		assert(db_put_node(t, &d->records[i], NODE_RECORD, &d->dir, name) == 0);
		put_file(&d->list[i], &file);
		assert(db_put_content(t, &d->records[i], NULL, buf_slice(&file)) >= 0);
	}
	assert(db_commit(t) == 0 && db_seal(d->db) == 0);
}

/* Another device that holds the same. */
static void join_db(struct device_here *d, struct device_here *first, const char *dir)
{
	AUTO(free_ptr) char *path = xasprintf("%s/b", dir);
	AUTO(free_ptr) char *key = xasprintf("%s/b.key", dir);
	AUTO(buf_fini) struct buf welcome = {0};
	AUTO(buf_fini) struct buf cert = {0};
	struct why why;

	assert(keys_create(key, "b", &d->keys, &why) == 0);
	db_welcome(first->db, &welcome);
	assert(db_join(path, d->keys, buf_slice(&welcome), &why) == 0);
	d->db = open_db(path, d->keys);
	keys_cert(d->keys, &cert);
	assert(db_admit(first->db, buf_slice(&cert), MEMBER_OWNER) == 0);
	d->dir = first->dir;
	memcpy(d->records, first->records, sizeof(d->records));
	d->list = xcalloc(RECORDS, sizeof(*d->list));
}

/* Gives `to` what it has not got of `from` from the arrival number on. Returns bytes, or only counts if to is NULL. */
static size_t pass(struct device_here *from, struct device_here *to, uint64_t *cursor)
{
	AUTO(buf_fini) struct buf envelope = {0};
	AUTO(free_ptr) struct feed_pos *vv = NULL;
	struct feed_item item;
	size_t bytes = 0;

	assert(db_seal(from->db) == 0);
	for (;;) {
		size_t count = to ? db_have(to->db, &vv) : 0;
		if (db_next_envelope(from->db, cursor, vv, count, &item, &envelope) != 1)
			break;
		free(STEAL(vv));
		uint64_t last = 0;
		if (to && !item.packed)
			assert(db_apply_envelope(to->db, &item.pos.stream, item.pos.actor,
						 buf_slice(&envelope), &last) >= 0);
		bytes += envelope.len;
	}
	return bytes;
}

struct db_figures {
	double save_ns;
	double synced_ns;
	double merge_ns;
	double sealed_bytes;
	double alone_bytes;
};

/* Saves edits, sealing every `batch` of them. Returns nanoseconds. */
static double edit_db(struct device_here *d, uint32_t seed, uint32_t count, uint32_t batch,
		      bool sync)
{
	AUTO(free_ptr) struct edit *edits = make_edits(seed, count);
	AUTO(buf_fini) struct buf file = {0};
	double total = 0;

	for (uint32_t i = 0; i < count; i++) {
		apply_edit(d->list, &edits[i]);
		put_file(&d->list[edits[i].record], &file);
		struct watch w = start();
		uint64_t wall = now_ns();
		save_db(d, edits[i].record, buf_slice(&file));
		int r = (i + 1) % batch == 0 ? db_seal(d->db) : 0;
		if (r < 0) {
			errno = -r;
			die("sealing");
		}
		if (sync)
			assert(db_sync(d->db) == 0);
		total += sync ? (double)(now_ns() - wall) : since_ns(w);
	}
	return total;
}

static size_t sealed_size(struct device_here *d, struct device_here *to, uint32_t seed,
			  uint32_t count, uint32_t batch)
{
	uint64_t cursor = 0;

	(void)pass(d, to, &cursor);
	(void)edit_db(d, seed, count, batch, false);
	return pass(d, to, &cursor);
}

static struct db_figures measure_db(const char *dir, uint32_t count)
{
	AUTO(free_ptr) struct device_here *a = xcalloc(1, sizeof(*a));
	AUTO(free_ptr) struct device_here *b = xcalloc(1, sizeof(*b));
	struct db_figures f = {0};
	uint64_t there = 0;
	uint64_t back = 0;

	make_db(a, dir);
	join_db(b, a, dir);
	(void)pass(a, b, &there);
	f.save_ns = edit_db(a, 7, count, BATCH, false) / count;
	f.synced_ns = edit_db(a, 8, SYNCED, UINT32_MAX, true) / SYNCED;
	(void)pass(a, b, &there);
	f.sealed_bytes = (double)sealed_size(a, b, 9, SEALED, BATCH) / SEALED;
	f.alone_bytes = (double)sealed_size(a, b, 10, BATCH, 1) / BATCH;
	there = 0;
	(void)pass(a, b, &there);
	memcpy(b->list, a->list, RECORDS * sizeof(*a->list));
	(void)edit_db(a, 11, count / 2, BATCH, false);
	(void)edit_db(b, 13, count / 2, BATCH, false);
	struct watch w = start();
	(void)pass(b, a, &back);
	f.merge_ns = since_ns(w);
	db_close(a->db);
	db_close(b->db);
	keys_destroy(a->keys);
	keys_destroy(b->keys);
	free(a->list);
	free(b->list);
	return f;
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000;
	AUTO(free_ptr) struct side *s = xcalloc(1, sizeof(*s));
	AUTO(buf_fini) struct buf changes = {0};
	size_t plain = 0;

	if (argc < 2 || count < 1000) {
		(void)fprintf(stderr, "usage: fields DIR [EDITS]\n");
		return 2;
	}
	digest_init();
	if (mkdir(argv[1], 0700) != 0)
		die(argv[1]);
	AUTO(free_ptr) struct edit *edits = make_edits(7, count);
	fill(s, 2);
	double save_ns = save_all(s, edits, count, &changes) / count;
	empty(s);
	double edit_ns = edit_all(buf_slice(&changes), count, &plain) / count;
	size_t batches = batch_size(buf_slice(&changes));
	size_t strata = stratum_size(buf_slice(&changes));
	double merge_ns = merge(count / 2);
	struct db_figures f = measure_db(argv[1], count);
	(void)printf("{\"edits\":%u,\"edit_us\":%.3f,\"save_us\":%.3f,\"plain_bytes\":%.1f,", count,
		     edit_ns / 1e3, save_ns / 1e3, (double)plain / count);
	(void)printf("\"batch_bytes\":%.1f,\"stratum_bytes\":%.1f,", (double)batches / count,
		     (double)strata / count);
	(void)printf("\"db_us\":%.2f,\"synced_us\":%.1f,\"sealed_bytes\":%.1f,\"alone_bytes\":%.1f,",
		     f.save_ns / 1e3, f.synced_ns / 1e3, f.sealed_bytes, f.alone_bytes);
	(void)printf("\"merge_ms\":%.1f,\"db_merge_ms\":%.1f}\n", merge_ns / 1e6, f.merge_ns / 1e6);
	return 0;
}
