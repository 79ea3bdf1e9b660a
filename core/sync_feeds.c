/* See core/sync_feeds.h. */
#include "core/sync_feeds.h"

#include <stdlib.h>
#include <string.h>

static int pos_cmp(const struct feed_pos *x, const struct feed_pos *y)
{
	int c = id_cmp(&x->stream, &y->stream);

	return c ? c : (x->actor > y->actor) - (x->actor < y->actor);
}

static void side_fini(struct sync_feeds_side *s)
{
	free(s->by_number);
	free(s->by_feed);
}

void sync_feeds_fini(struct sync_feeds *f)
{
	side_fini(&f->ours);
	side_fini(&f->theirs);
}

/* Where the feed is in by_feed, or would be. */
static size_t place_of(const struct sync_feeds_side *s, const struct feed_pos *p)
{
	size_t low = 0;
	size_t high = s->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (pos_cmp(&s->by_feed[mid], p) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* 0: it has none. */
static uint64_t number_of(const struct sync_feeds_side *s, const struct feed_pos *p)
{
	size_t at = place_of(s, p);

	return at < s->count && pos_cmp(&s->by_feed[at], p) == 0 ? s->by_feed[at].seq : 0;
}

/* The next number. A feed that has one already gets another: the peer wastes its own. */
static void add(struct sync_feeds_side *s, const struct feed_pos *p)
{
	size_t at = place_of(s, p);

	if ((s->count & (s->count - 1)) == 0) {
		size_t room = s->count ? s->count * 2 : 1;

		s->by_number = xreallocarray(s->by_number, room, sizeof(*s->by_number));
		s->by_feed = xreallocarray(s->by_feed, room, sizeof(*s->by_feed));
	}
	memmove(&s->by_feed[at + 1], &s->by_feed[at], (s->count - at) * sizeof(*s->by_feed));
	s->by_number[s->count] = *p;
	s->by_number[s->count].seq = 0;
	s->by_feed[at] = *p;
	s->by_feed[at].seq = ++s->count;
}

static void spell(const struct feed_pos *p, struct buf *out)
{
	id_write(out, &p->stream);
	buf_be64(out, p->actor);
}

void sync_feeds_write(struct sync_feeds *f, const struct feed_pos *p, struct buf *out)
{
	uint64_t ours = number_of(&f->ours, p);
	uint64_t theirs = ours ? 0 : number_of(&f->theirs, p);

	if (ours || theirs) {
		buf_varint(out, ours ? ours * 2 : theirs * 2 + 1);
		return;
	}
	if (f->ours.count < SYNC_FEEDS_MAX) {
		add(&f->ours, p);
		buf_varint(out, f->ours.count * 2);
	} else {
		buf_varint(out, 0);
	}
	spell(p, out);
}

struct feed_pos sync_feeds_read(struct sync_feeds *f, struct reader *r)
{
	uint64_t n = reader_varint_max(r, 2 * SYNC_FEEDS_MAX + 1);
	struct sync_feeds_side *side = n & 1 ? &f->ours : &f->theirs;
	struct feed_pos p = {0};

	if (!r->bad && n > 1 && n / 2 <= side->count)
		return side->by_number[n / 2 - 1];
	bool is_new = n % 2 == 0 && n / 2 == side->count + 1 && n / 2 <= SYNC_FEEDS_MAX;
	r->bad = r->bad || (n != 0 && !is_new);
	p.stream = id_read(r);
	p.actor = reader_be64(r);
	if (!r->bad && n != 0)
		add(side, &p);
	return p;
}
