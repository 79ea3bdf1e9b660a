/*
 * core/text by the numbers, on recorded typing.
 *
 *   build/release/tests/bench/text TRACE.json [ROUNDS]      (- reads standard input)
 *
 * TRACE.json is a trace of github.com/josephg/editing-traces, unpacked: one of sequential_traces/ or of
 * concurrent_traces/. Text must be ASCII, so that characters are bytes. Prints one line, a JSON object; times
 * are the best of ROUNDS (5):
 *
 *   trace, edits, bytes      what was read; length of the final text
 *   each_us                  a sequential trace: each patch an operation of its own, applied and encoded
 *   update_bytes             mean size of those: author, lamport, parents, edit
 *   update_bytes_max
 *   load_ms                  the text and its heads out of what the store has of a record (core/doc.h)
 *   stored_bytes             what that is: the text as it is, and a state
 *   history_bytes            all operations in one piece, inserted and deleted text included
 *   history_ms, replay_ms    writing that; reading it and applying everything anew
 *   merge_ms                 a concurrent trace: a new replica gets all operations one by one
 *   merge_us                 the same, for each operation
 *
 * The final text is compared with the trace's; exits 1 if it differs.
 */
#include "core/doc.h"
#include "core/text.h"
#include "tests/bench/measure.h"

struct patch {
	uint64_t pos;
	uint64_t del;
	struct slice ins;
	size_t txn;
};

struct trace {
	struct buf file;
	struct buf text; /* all that is inserted, unescaped */
	struct patch *patches;
	size_t patch_count;
	size_t patch_cap;
	size_t *agent;	      /* of each transaction */
	size_t *first_parent; /* of each transaction, in `parents` */
	size_t *parents;
	size_t txn_count;
	size_t parent_count;
	struct buf end;
	bool concurrent;
};

struct cursor {
	const char *p;
	const char *end;
};

static void fail(const char *what)
{
	(void)fprintf(stderr, "bench text: %s\n", what);
	exit(1);
}

static char peek(struct cursor *c)
{
	while (c->p < c->end && strchr(" \t\r\n,:", *c->p))
		c->p++;
	return c->p < c->end ? *c->p : 0;
}

static bool take(struct cursor *c, char what)
{
	if (peek(c) != what)
		return false;
	c->p++;
	return true;
}

static uint64_t number(struct cursor *c)
{
	uint64_t n = 0;

	for (char d = peek(c); c->p < c->end && *c->p >= '0' && *c->p <= '9'; d = *c->p) {
		(void)d;
		n = n * 10 + (uint64_t)(*c->p++ - '0');
	}
	return n;
}

static void string(struct cursor *c, struct buf *out)
{
	if (!take(c, '"'))
		fail("not a trace: a string is missing");
	while (c->p < c->end && *c->p != '"') {
		char ch = *c->p++;

		if (ch == '\\' && c->p < c->end) {
			char e = *c->p++;

			ch = e == 'n' ? '\n' : e == 't' ? '\t' : e == 'r' ? '\r' : e;
			if (e == 'u') {
				ch = (char)strtol((char[]){c->p[2], c->p[3], 0}, NULL, 16);
				c->p += 4;
			}
		}
		if (ch & 0x80)
			fail("the trace is not ASCII");
		buf_u8(out, (uint8_t)ch);
	}
	c->p++;
}

static void skip_value(struct cursor *c)
{
	AUTO(buf_fini) struct buf unused = {0};
	int depth = 0;

	do {
		char ch = peek(c);

		if (ch == '"') {
			string(c, &unused);
			continue;
		}
		depth += (ch == '[' || ch == '{') - (ch == ']' || ch == '}');
		c->p++;
		while (depth == 0 && c->p < c->end && !strchr(",]}", *c->p))
			c->p++;
	} while (depth > 0 && c->p < c->end);
}

static void patches(struct cursor *c, struct trace *t)
{
	for (bool any = take(c, '['); any && !take(c, ']');) {
		struct patch p = {.txn = t->txn_count};

		if (!take(c, '['))
			fail("not a trace: a patch is no array");
		p.pos = number(c);
		p.del = number(c);
		size_t from = t->text.len;
		string(c, &t->text);
		p.ins = SLICE(NULL, t->text.len - from);
		if (!take(c, ']'))
			fail("not a trace: a patch has more than three members");
		if (t->patch_count == t->patch_cap) {
			t->patch_cap = t->patch_cap ? t->patch_cap * 2 : 4096;
			t->patches = xreallocarray(t->patches, t->patch_cap, sizeof(*t->patches));
		}
		t->patches[t->patch_count++] = p;
	}
}

static void txn(struct cursor *c, struct trace *t)
{
	AUTO(buf_fini) struct buf key = {0};
	size_t n = t->txn_count;

	t->agent = xreallocarray(t->agent, n + 1, sizeof(*t->agent));
	t->first_parent = xreallocarray(t->first_parent, n + 2, sizeof(*t->first_parent));
	t->agent[n] = 0;
	t->first_parent[n] = t->parent_count;
	while (!take(c, '}')) {
		buf_clear(&key);
		string(c, &key);
		const char *k = buf_str(&key);
		if (strcmp(k, "patches") == 0) {
			patches(c, t);
		} else if (strcmp(k, "agent") == 0) {
			(void)peek(c);
			t->agent[n] = number(c);
		} else if (strcmp(k, "parents") == 0) {
			t->concurrent = true;
			for (bool any = take(c, '['); any && !take(c, ']');) {
				t->parents = xreallocarray(t->parents, t->parent_count + 1,
							   sizeof(*t->parents));
				t->parents[t->parent_count++] = number(c);
			}
		} else {
			skip_value(c);
		}
	}
	t->txn_count++;
	t->first_parent[t->txn_count] = t->parent_count;
}

static void read_trace(const char *path, struct trace *t)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	size_t n = 0;

	if (!f)
		die(path);
	while ((n = fread(buf_reserve(&t->file, 65536), 1, 65536, f)) > 0)
		t->file.len += n;
	(void)fclose(f);
	struct cursor c = {(const char *)t->file.data, (const char *)t->file.data + t->file.len};
	AUTO(buf_fini) struct buf key = {0};
	if (!take(&c, '{'))
		fail("not a trace: no JSON object");
	while (c.p < c.end && !take(&c, '}')) {
		buf_clear(&key);
		string(&c, &key);
		const char *k = buf_str(&key);
		if (strcmp(k, "endContent") == 0) {
			string(&c, &t->end);
		} else if (strcmp(k, "txns") == 0) {
			for (bool any = take(&c, '['); any && !take(&c, ']');) {
				if (!take(&c, '{'))
					fail("not a trace: a transaction is no object");
				txn(&c, t);
			}
		} else {
			skip_value(&c);
		}
	}
	size_t at = 0;
	for (size_t i = 0; i < t->patch_count; i++) {
		t->patches[i].ins.data = t->text.data + at;
		at += t->patches[i].ins.len;
	}
	if (t->patch_count == 0)
		fail("not a trace: no patches");
}

/* An operation on its own: author, lamport << 1 | it goes on from the author's last, edits. */
static void encode_update(struct opid id, const struct text_edits *e, struct buf *out)
{
	buf_be64(out, id.actor);
	buf_varint(out, id.lamport << 1);
	text_edits_encode(e, out);
}

static double ms_since(uint64_t start)
{
	return (double)(now_ns() - start) / 1e6;
}

static void expect_end(const struct trace *t, struct text *text)
{
	if (!slice_eq(text_content(text), buf_slice(&t->end)))
		fail("the text differs from the trace's");
}

static struct text *type_all(const struct trace *t, size_t *ret_bytes, size_t *ret_max)
{
	struct text *text = text_create(SLICE("", 0), NULL, 0);
	AUTO(buf_fini) struct buf update = {0};
	struct text_edit edit = {0};
	struct text_edits e = {.items = &edit, .count = 1, .cap = 1};
	struct opid last = {0};
	uint64_t len = 0;

	text_keep_history(text);
	*ret_bytes = *ret_max = 0;
	for (size_t i = 0; i < t->patch_count; i++) {
		const struct patch *p = &t->patches[i];
		struct opid id = {.lamport = i + 1, .actor = 0x1122334455667788};

		edit = (struct text_edit){p->pos, p->del, p->ins};
		buf_clear(&update);
		encode_update(id, &e, &update);
		*ret_bytes += update.len;
		*ret_max = *ret_max < update.len ? update.len : *ret_max;
		if (text_apply(text, id, &last, i > 0, &e, &len) != TEXT_APPLIED)
			fail("an edit does not apply");
		last = id;
	}
	return text;
}

/* A record that shows this text, of which the store has the state and the bytes. */
static double load_ms(struct slice text, int rounds, size_t *ret_stored)
{
	AUTO(ops_fini) struct ops ops = {0};
	AUTO(buf_fini) struct buf state = {0};
	const struct id node = {{1}};
	uint64_t lamport = 0;
	const struct doc_stamp stamp = {.actor = 1, .hlc = 1, .lamport = &lamport};
	struct doc *doc = doc_create();
	double best = 1e9;

	(void)doc_diff(doc, text, false, &node, &stamp, &ops);
	for (size_t i = 0; i < ops.count; i++)
		doc_apply(doc, &ops.items[i], (struct opid){ops.items[i].lamport, 1}, 1);
	doc_encode(doc, text, &state);
	doc_destroy(doc);
	*ret_stored = state.len + text.len;
	for (int r = 0; r < rounds; r++) {
		AUTO(buf_fini) struct buf shown = {0};
		struct doc *copy = NULL;
		uint64_t start = now_ns();

		if (doc_decode(buf_slice(&state), text, &copy) < 0)
			fail("the state cannot be read back");
		doc_render(copy, &shown);
		double ms = ms_since(start);
		best = ms < best ? ms : best;
		if (!slice_eq(buf_slice(&shown), text))
			fail("loading lost something");
		doc_destroy(copy);
	}
	return best;
}

static void sequential(const struct trace *t, int rounds)
{
	double each = 1e9;
	double write = 1e9;
	double replay = 1e9;
	size_t bytes = 0;
	size_t max = 0;
	size_t stored = 0;
	struct text *text = NULL;
	AUTO(buf_fini) struct buf history = {0};

	for (int r = 0; r < rounds; r++) {
		text_destroy(text);
		uint64_t start = now_ns();
		text = type_all(t, &bytes, &max);
		double ms = ms_since(start);
		each = ms < each ? ms : each;
	}
	expect_end(t, text);
	double load = load_ms(text_content(text), rounds * 10, &stored);
	for (int r = 0; r < rounds; r++) {
		struct text *copy = NULL;
		uint64_t start = now_ns();

		buf_clear(&history);
		text_export(text, &history);
		double ms = ms_since(start);
		write = ms < write ? ms : write;
		start = now_ns();
		if (text_import(buf_slice(&history), &copy) < 0)
			fail("the history cannot be read back");
		ms = ms_since(start);
		replay = ms < replay ? ms : replay;
		expect_end(t, copy);
		text_destroy(copy);
	}
	double n = (double)t->patch_count;
	(void)printf(
		"\"each_us\":%.4f,\"update_bytes\":%.2f,\"update_bytes_max\":%zu,"
		"\"load_ms\":%.4f,\"stored_bytes\":%zu,\"history_bytes\":%zu,\"history_ms\":%.1f,"
		"\"replay_ms\":%.2f}\n",
		each * 1e3 / n, (double)bytes / n, max, load, stored, history.len, write, replay);
	text_destroy(text);
}

/* Each patch of a transaction is an operation built on the one before. */
static void merge(const struct trace *t, struct text *text, struct opid *last)
{
	struct text_edit edit = {0};
	struct text_edits e = {.items = &edit, .count = 1, .cap = 1};
	struct opid *parents = xreallocarray(NULL, t->parent_count + 1, sizeof(*parents));
	uint64_t len = 0;

	for (size_t i = 0; i < t->patch_count; i++) {
		const struct patch *p = &t->patches[i];
		struct opid id = {.lamport = i + 1, .actor = t->agent[p->txn] + 1};
		size_t n = 0;

		if (i > 0 && t->patches[i - 1].txn == p->txn) {
			parents[n++] = last[p->txn];
		} else {
			for (size_t k = t->first_parent[p->txn]; k < t->first_parent[p->txn + 1];
			     k++)
				parents[n++] = last[t->parents[k]];
		}
		edit = (struct text_edit){p->pos, p->del, p->ins};
		if (text_apply(text, id, parents, n, &e, &len) != TEXT_APPLIED)
			fail("an operation does not apply");
		last[p->txn] = id;
	}
	free(parents);
}

static void concurrent(const struct trace *t, int rounds)
{
	struct opid *last = xcalloc(t->txn_count, sizeof(*last));
	AUTO(buf_fini) struct buf history = {0};
	double best = 1e9;

	for (int r = 0; r < rounds; r++) {
		uint64_t start = now_ns();
		struct text *text = text_create(SLICE("", 0), NULL, 0);

		text_keep_history(text);
		merge(t, text, last);
		double ms = ms_since(start);
		best = ms < best ? ms : best;
		expect_end(t, text);
		buf_clear(&history);
		text_export(text, &history);
		text_destroy(text);
	}
	free(last);
	(void)printf("\"merge_ms\":%.3f,\"merge_us\":%.4f,\"history_bytes\":%zu}\n", best,
		     best * 1e3 / (double)t->patch_count, history.len);
}

int main(int argc, char **argv)
{
	struct trace t = {0};
	int rounds = argc > 2 ? atoi(argv[2]) : 5;

	if (argc < 2 || rounds < 1) {
		(void)fprintf(stderr, "usage: text TRACE.json [ROUNDS]\n");
		return 2;
	}
	read_trace(argv[1], &t);
	const char *name = strrchr(argv[1], '/');
	(void)printf("{\"bench\":\"text\",\"trace\":\"%s\",\"edits\":%zu,\"bytes\":%zu,",
		     name ? name + 1 : argv[1], t.patch_count, t.end.len);
	if (t.concurrent)
		concurrent(&t, rounds);
	else
		sequential(&t, rounds);
	buf_fini(&t.file);
	buf_fini(&t.text);
	buf_fini(&t.end);
	free(t.patches);
	free(t.agent);
	free(t.first_parent);
	free(t.parents);
	return 0;
}
