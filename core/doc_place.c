/*
 * Places: where a member or element stands among its siblings; drawn in doc_i.h.
 *
 * The order is that of Fugue (Weidner and Kleppmann 2023), kept as strings in the manner of
 * position-strings (Weidner): a place is its path in Fugue's tree, so that comparing needs no tree. A
 * new element becomes a neighbour's sibling in the tree where that is possible (one rank, or one
 * index of the author's own run, further), so that places grow only where elements are put between
 * two that were made side by side.
 *
 * Numbers are written so that memcmp() orders them, and none is the beginning of another: unsigned
 * ones below 0xef as one byte, others as 0xef + n and n bytes, big-endian; signed ones from -64 to 63
 * as 0x80 + v, others as 0xbf + n or 0x40 - n and n bytes, negative ones in two's complement.
 */
#include "core/doc_i.h"

#include <string.h>

#define SHORT_UNSIGNED 0xefu
#define SIGNED_BASE 0x80
#define SIGNED_SHORT 64

static unsigned bytes_of(uint64_t v)
{
	unsigned n = 1;

	while (n < 8 && v >> (8 * n))
		n++;
	return n;
}

static void put_tail(struct buf *out, uint64_t v, unsigned n)
{
	while (n--)
		buf_u8(out, (uint8_t)(v >> (8 * n)));
}

static uint64_t take_tail(struct reader *r, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | reader_u8(r);
	if (n > 1 && v >> (8 * (n - 1)) == 0)
		r->bad = true; /* one way to write a number, else equal places could differ */
	return v;
}

static void put_unsigned(struct buf *out, uint64_t v)
{
	unsigned n = bytes_of(v);

	if (v < SHORT_UNSIGNED) {
		buf_u8(out, (uint8_t)v);
		return;
	}
	buf_u8(out, (uint8_t)(SHORT_UNSIGNED - 1 + n));
	put_tail(out, v, n);
}

static uint64_t take_unsigned(struct reader *r)
{
	unsigned head = reader_u8(r);

	if (head < SHORT_UNSIGNED)
		return head;
	unsigned n = head - SHORT_UNSIGNED + 1;
	if (n > 8) {
		r->bad = true;
		return 0;
	}
	uint64_t v = take_tail(r, n);
	if (v < SHORT_UNSIGNED)
		r->bad = true;
	return v;
}

static void put_signed(struct buf *out, int64_t v)
{
	if (v >= -SIGNED_SHORT && v < SIGNED_SHORT) {
		buf_u8(out, (uint8_t)(SIGNED_BASE + v));
		return;
	}
	uint64_t magnitude = v < 0 ? ~(uint64_t)v : (uint64_t)v;
	unsigned n = bytes_of(magnitude);
	buf_u8(out, (uint8_t)(v < 0 ? SIGNED_BASE - SIGNED_SHORT - (int)n
				    : SIGNED_BASE + SIGNED_SHORT - 1 + (int)n));
	if (v >= 0) {
		put_tail(out, magnitude, n);
		return;
	}
	for (unsigned i = n; i--;)
		buf_u8(out, (uint8_t) ~(magnitude >> (8 * i)));
}

static int64_t take_signed(struct reader *r)
{
	int head = reader_u8(r);
	int base = head - SIGNED_BASE;

	if (base >= -SIGNED_SHORT && base < SIGNED_SHORT)
		return base;
	unsigned n = (unsigned)(base < 0 ? -SIGNED_SHORT - base : base - SIGNED_SHORT + 1);
	uint64_t v = 0;
	if (n > 8) {
		r->bad = true;
		return 0;
	}
	for (unsigned i = 0; i < n; i++) {
		uint8_t byte = reader_u8(r);

		v = v << 8 | (uint8_t)(base < 0 ? ~byte : byte);
	}
	if (v < SIGNED_SHORT || v > INT64_MAX / 2 || bytes_of(v) != n)
		r->bad = true;
	return r->bad ? 0 : base < 0 ? -(int64_t)v - 1 : (int64_t)v;
}

void doc_step_put(struct buf *out, const struct step *s)
{
	put_signed(out, s->rank);
	put_unsigned(out, s->waypoint.lamport);
	buf_be64(out, s->waypoint.actor);
	put_signed(out, s->index);
	put_unsigned(out, s->own);
}

struct step doc_step_take(struct reader *r)
{
	struct step s;

	s.rank = take_signed(r);
	s.waypoint.lamport = take_unsigned(r);
	s.waypoint.actor = reader_be64(r);
	s.index = take_signed(r);
	s.own = take_unsigned(r);
	return s;
}

bool doc_place_is_sound(struct slice place)
{
	struct reader r = reader_init(place);

	while (!r.bad && reader_left(&r))
		(void)doc_step_take(&r);
	return !r.bad && place.len > 0 && place.len <= DOC_PLACE_BYTES_MAX;
}

/* The last step, and how many bytes are before it. */
static struct step last_step(struct slice place, size_t *ret_before)
{
	struct reader r = reader_init(place);
	struct step s = {0};

	while (reader_left(&r)) {
		*ret_before = place.len - reader_left(&r);
		s = doc_step_take(&r);
	}
	assert(!r.bad);
	return s;
}

static size_t signed_len(unsigned head)
{
	int base = (int)head - SIGNED_BASE;

	if (base < -SIGNED_SHORT)
		return (size_t)(1 - SIGNED_SHORT - base);
	return base < SIGNED_SHORT ? 1 : (size_t)(base - SIGNED_SHORT + 2);
}

static size_t unsigned_len(unsigned head)
{
	return head < SHORT_UNSIGNED ? 1 : head - SHORT_UNSIGNED + 2;
}

static uint8_t byte_at(struct slice s, size_t at)
{
	assert(at < s.len);
	return s.data[at];
}

/* Where the last step's index stands if it is a byte and one more is, too; else 0. Sound places only. */
static size_t short_index(struct slice place)
{
	size_t at = 0;
	size_t index = 0;

	while (at < place.len) {
		at += signed_len(byte_at(place, at));
		at += unsigned_len(byte_at(place, at)) + sizeof(uint64_t);
		index = at;
		at += signed_len(byte_at(place, at));
		at += unsigned_len(byte_at(place, at));
	}
	assert(at == place.len);
	int v = (int)place.data[index] - SIGNED_BASE;
	return v >= -SIGNED_SHORT && v < SIGNED_SHORT - 1 ? index : 0;
}

bool doc_place_is_next(struct slice before, struct slice place)
{
	AUTO(buf_fini) struct buf next = {0};
	size_t i = 0;

	/* Most often only the last bytes differ: do not work it out for nothing. */
	if (before.len == 0 || place.len + 8 < before.len || before.len + 8 < place.len)
		return false;
	i = short_index(before);
	if (i)
		return place.len == before.len && place.data[i] == before.data[i] + 1 &&
		       memcmp(place.data, before.data, i) == 0 &&
		       memcmp(place.data + i + 1, before.data + i + 1, place.len - i - 1) == 0;
	doc_place_next(before, &next);
	return slice_eq(buf_slice(&next), place);
}

void doc_place_next(struct slice place, struct buf *out)
{
	size_t before = 0;
	size_t i = short_index(place);

	if (i) {
		buf_slice_append(out, place);
		out->data[out->len - place.len + i]++;
		return;
	}
	struct step s = last_step(place, &before);

	s.index++;
	buf_append(out, place.data, before);
	doc_step_put(out, &s);
}

void doc_place_of(const struct place *p, struct opid op, uint32_t i, struct buf *out)
{
	const struct step s = {
		.rank = p->rank,
		.waypoint = {p->waypoint, op.actor},
		.index = p->index + (int64_t)i,
		.own = op.lamport - p->waypoint,
	};

	buf_slice_append(out, p->prefix);
	doc_step_put(out, &s);
}

/* Ranks and indices stay far from where they would overflow. */
static bool has_room(const struct step *s)
{
	const int64_t far = (int64_t)1 << 40;

	return s->rank > -far && s->rank < far && s->index > -far && s->index < far;
}

/* After the step `s`, at its level: on with the own run, or a rank further. */
static struct place after_step(struct slice prefix, const struct step *s, struct opid id)
{
	if (s->waypoint.actor == id.actor && s->waypoint.lamport &&
	    s->waypoint.lamport + s->own < id.lamport)
		return (struct place){prefix, s->rank, s->waypoint.lamport, s->index + 1};
	return (struct place){prefix, s->rank + 1, id.lamport, 0};
}

static struct place before_step(struct slice prefix, const struct step *s, struct opid id,
				uint32_t count)
{
	if (s->waypoint.actor == id.actor && s->waypoint.lamport &&
	    s->waypoint.lamport + s->own < id.lamport)
		return (struct place){prefix, s->rank, s->waypoint.lamport,
				      s->index - (int64_t)count};
	return (struct place){prefix, s->rank - 1, id.lamport, 0};
}

/* The first and the last of the new ones are really in between. */
static bool is_between(const struct place *p, struct slice left, struct slice right, struct opid id,
		       uint32_t count)
{
	AUTO(buf_fini) struct buf first = {0};
	AUTO(buf_fini) struct buf last = {0};

	doc_place_of(p, id, 0, &first);
	doc_place_of(p, id, count - 1, &last);
	return slice_cmp(left, buf_slice(&first)) < 0 &&
	       (right.len == 0 || slice_cmp(buf_slice(&last), right) < 0);
}

bool doc_place_between(struct slice left, struct slice right, struct opid id, uint32_t count,
		       struct arena *arena, struct place *ret)
{
	size_t l_before = 0;
	size_t r_before = 0;
	struct place tries[3];
	size_t n = 0;

	assert(count > 0);
	if (right.len && slice_cmp(left, right) >= 0)
		return false;
	if (left.len) {
		struct step l = last_step(left, &l_before);

		if (has_room(&l))
			tries[n++] = after_step(SLICE(left.data, l_before), &l, id);
	}
	if (right.len) {
		struct step r = last_step(right, &r_before);

		if (has_room(&r))
			tries[n++] = before_step(SLICE(right.data, r_before), &r, id, count);
	}
	tries[n++] = (struct place){left, 0, id.lamport, 0};
	for (size_t i = 0; i < n; i++) {
		if (tries[i].prefix.len <= CHANGE_PLACE_BYTES_MAX &&
		    is_between(&tries[i], left, right, id, count)) {
			*ret = tries[i];
			ret->prefix = arena_copy(arena, ret->prefix);
			return true;
		}
	}
	return false;
}
