/*
 * What the tests of core/json, core/change and core/doc share: checks that name the seed, and a
 * replica, which is a document and the clocks its saves need. Each program uses only some of it.
 */
#ifndef BLAZE_TESTS_UNIT_DOC_HELPERS_H
#define BLAZE_TESTS_UNIT_DOC_HELPERS_H

#include "core/doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the random test that runs; 0 in the others. */
static uint64_t seed_now;

static inline void show(const char *name, struct slice s)
{
	(void)fprintf(stderr, "%s (%zu bytes): %.*s\n", name, s.len, (int)s.len,
		      s.len ? (const char *)s.data : "");
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: %s failed, seed %llu\n", __FILE__, __LINE__, \
				      #condition, (unsigned long long)seed_now);                   \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A replica: a document and the clocks its saves need. */
struct replica {
	struct doc *doc;
	uint64_t actor;
	uint64_t lamport;
	uint64_t hlc;
};

static const struct id node_id = {{7}};

static inline struct replica replica_new(uint64_t actor)
{
	return (struct replica){doc_create(), actor, 0, 1000};
}

static inline void replica_fini(struct replica *r)
{
	doc_destroy(r->doc);
}

static inline struct buf render(const struct doc *d)
{
	struct buf out = {0};

	doc_render(d, &out);
	return out;
}

static inline void expect_render(const struct doc *d, struct slice want)
{
	AUTO(buf_fini) struct buf got = render(d);

	if (!slice_eq(buf_slice(&got), want)) {
		show("got", buf_slice(&got));
		show("want", want);
	}
	CHECK(slice_eq(buf_slice(&got), want));
}

static inline void expect_text(const struct doc *d, const char *want)
{
	expect_render(d, SLICE_STR(want));
}

/* Applies all of another's operations. */
static inline void deliver(struct replica *r, const struct ops *ops, uint64_t actor, uint64_t hlc)
{
	for (size_t i = 0; i < ops->count; i++) {
		const struct op *op = &ops->items[i];

		doc_apply(r->doc, op, (struct opid){op->lamport, actor}, hlc);
		if (r->lamport < op->lamport)
			r->lamport = op->lamport;
	}
	if (r->hlc < hlc)
		r->hlc = hlc;
}

/* A save by a program that read base. The operations go to `ops` and into r. */
static inline bool save_on(struct replica *r, const struct doc *base, struct slice bytes, bool json,
			   struct ops *ops)
{
	r->hlc++;
	const struct doc_stamp stamp = {.actor = r->actor, .hlc = r->hlc, .lamport = &r->lamport};
	bool any = doc_diff(base, bytes, json, &node_id, &stamp, ops);

	CHECK(any == (ops->count > 0));
	deliver(r, ops, r->actor, r->hlc);
	return any;
}

static inline struct buf encode(const struct doc *d)
{
	AUTO(buf_fini) struct buf rendered = render(d);
	struct buf out = {0};

	doc_encode(d, buf_slice(&rendered), &out);
	return out;
}

static inline void expect_same_state(const struct doc *a, const struct doc *b)
{
	AUTO(buf_fini) struct buf x = encode(a);
	AUTO(buf_fini) struct buf y = encode(b);

	CHECK(slice_eq(buf_slice(&x), buf_slice(&y)));
}

/* Encodes, decodes and expects nothing to have changed. */
static inline void expect_round_trip(const struct doc *d)
{
	AUTO(buf_fini) struct buf rendered = render(d);
	AUTO(buf_fini) struct buf state = {0};
	AUTO(buf_fini) struct buf again = {0};
	struct doc *copy = NULL;

	doc_encode(d, buf_slice(&rendered), &state);
	CHECK(doc_decode(buf_slice(&state), buf_slice(&rendered), &copy) == 0);
	doc_encode(copy, buf_slice(&rendered), &again);
	CHECK(slice_eq(buf_slice(&state), buf_slice(&again)));
	expect_render(copy, buf_slice(&rendered));
	doc_destroy(copy);
	buf_clear(&state);
	doc_encode(d, SLICE("", 0), &state);
	CHECK(doc_decode(buf_slice(&state), SLICE("", 0), &copy) == 0);
	expect_render(copy, buf_slice(&rendered));
	expect_same_state(copy, d);
	doc_destroy(copy);
}

static inline struct buf big_record(size_t bytes)
{
	struct buf b = {0};

	buf_u8(&b, '{');
	for (size_t i = 0; b.len < bytes; i++)
		buf_printf(&b, "%s\n  \"field_%zu\": \"value %zu\"", i ? "," : "", i, i * 7);
	buf_printf(&b, "\n}\n");
	return b;
}

static inline void run(const char *name, void (*fn)(void))
{
	fn();
	(void)printf("ok %s\n", name);
	(void)fflush(stdout);
}

#define RUN(test) run(#test, test_##test)

#endif
