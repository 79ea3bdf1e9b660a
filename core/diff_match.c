/* Patience anchors, then Myers' middle snakes; see the header. */
#include "core/diff_match.h"

#include <stdlib.h>
#include <string.h>

/** Anchors within ranges between anchors: how often. Each time costs one pass. */
#define ANCHOR_DEPTH_MAX 32
#define REACH_MIN 16

struct range {
	uint32_t a0;
	uint32_t a1;
	uint32_t b0;
	uint32_t b1;
};

struct match {
	const uint32_t *a;
	const uint32_t *b;
	uint32_t *out;
	const struct diff_match_rules *rules;
	uint64_t budget;
	uint8_t *in_a; /* by id: how often in the range at hand, 2 = more than once; else 0 */
	uint8_t *in_b;
	uint32_t *where; /* by id: its last place in b's range */
	int32_t *v;	 /* room for both fronts of Myers' algorithm */
	uint32_t v_reach;
	bool gave_up;
};

static uint32_t range_size(struct range r)
{
	return r.a1 - r.a0 + (r.b1 - r.b0);
}

static bool is_one_sided(struct range r)
{
	return r.a0 == r.a1 || r.b0 == r.b1;
}

/* ---- Myers ------------------------------------------------------------------------------------- */

/* The elements of one side that the other side has, too, and where they are in the whole. */
struct shared {
	uint32_t *ids;
	uint32_t *at;
	uint32_t count;
};

/* The search from one corner. The backward one runs over the sequences from their ends. */
struct front {
	const uint32_t *a;
	const uint32_t *b;
	ptrdiff_t step; /* 1 or -1 */
	int32_t *v;	/* by diagonal k = x - y: the furthest x, -1 = none */
};

struct search {
	struct front front[2]; /* forward, backward */
	int32_t n;
	int32_t m;
	uint64_t cost;
};

struct point {
	int32_t x;
	int32_t y;
};

/* The furthest x on diagonal k, with one more difference than its neighbours have. */
static int32_t furthest(struct search *s, const struct front *f, int32_t k)
{
	int32_t down = f->v[k + 1];
	int32_t right = f->v[k - 1];

	if (down >= 0 && down - k > s->m)
		down = -1;
	right = right >= 0 && right < s->n ? right + 1 : -1;
	int32_t x = down > right ? down : right;
	if (x < 0)
		return -1;
	int32_t start = x;
	while (x < s->n && x - k < s->m && f->a[f->step * x] == f->b[f->step * (x - k)])
		x++;
	s->cost += (uint64_t)(x - start) + 1;
	return x;
}

/* One more difference on one side. Whether the fronts met, and where, from that side's corner. */
static bool advance(struct search *s, unsigned side, int32_t d, struct point *ret)
{
	struct front *own = &s->front[side];
	const struct front *other = &s->front[!side];
	int32_t delta = s->n - s->m;
	int32_t other_d = side == 0 ? d - 1 : d;
	bool may_meet = (delta % 2 != 0) == (side == 0);
	int32_t low = d <= s->m ? -d : -s->m + (s->m + d) % 2;
	int32_t high = d <= s->n ? d : s->n - (s->n + d) % 2;

	own->v[-d - 1] = own->v[d + 1] = -1;
	for (int32_t k = low; k <= high; k += 2) {
		int32_t x = furthest(s, own, k);
		int32_t mirror = delta - k;

		own->v[k] = x;
		if (x < 0 || !may_meet || mirror > other_d || mirror < -other_d)
			continue;
		if (other->v[mirror] >= 0 && x + other->v[mirror] >= s->n) {
			*ret = (struct point){x, x - k};
			return true;
		}
	}
	return false;
}

static struct point best(const struct front *f, int32_t d)
{
	struct point p = {0, 0};

	for (int32_t k = -d; k <= d; k++) {
		int32_t x = f->v[k];

		if (x >= 0 && 2 * x - k > p.x + p.y)
			p = (struct point){x, x - k};
	}
	return p;
}

static struct point from_end(const struct search *s, struct point p)
{
	return (struct point){s->n - p.x, s->m - p.y};
}

/* A point that a shortest script passes, or a good one if it is too far. false: give up. */
static bool middle(struct match *m, struct search *s, struct point *ret)
{
	int32_t size = s->n + s->m;
	uint64_t reach = m->budget / (uint64_t)size;

	if (reach > m->rules->reach)
		reach = m->rules->reach;
	if (reach < REACH_MIN)
		reach = REACH_MIN;
	if (reach > m->v_reach)
		reach = m->v_reach;
	for (unsigned side = 0; side < 2; side++) {
		s->front[side].v = m->v + (m->v_reach + 2) + side * (2 * (size_t)m->v_reach + 4);
		s->front[side].v[0] = 0;
	}
	for (int32_t d = 1; d <= (int32_t)reach; d++) {
		if (advance(s, 0, d, ret))
			return true;
		if (advance(s, 1, d, ret)) {
			*ret = from_end(s, *ret);
			return true;
		}
		if (s->cost >= m->budget)
			return false;
	}
	if (!m->rules->greedy)
		return false;
	struct point forward = best(&s->front[0], (int32_t)reach);
	struct point backward = best(&s->front[1], (int32_t)reach);
	*ret = forward.x + forward.y >= backward.x + backward.y ? forward : from_end(s, backward);
	return true;
}

static struct range trim(const uint32_t *a, const uint32_t *b, struct range r)
{
	while (!is_one_sided(r) && a[r.a0] == b[r.b0]) {
		r.a0++;
		r.b0++;
	}
	while (!is_one_sided(r) && a[r.a1 - 1] == b[r.b1 - 1]) {
		r.a1--;
		r.b1--;
	}
	return r;
}

/* Recurses into the smaller part, so the depth is logarithmic. */
static void myers(struct match *m, const struct shared *a, const struct shared *b,
		  struct range whole)
{
	while (!is_one_sided(whole)) {
		struct range r = trim(a->ids, b->ids, whole);
		struct point p = {0, 0};

		for (uint32_t i = 0; i < r.a0 - whole.a0; i++)
			m->out[a->at[whole.a0 + i]] = b->at[whole.b0 + i];
		for (uint32_t i = 0; i < whole.a1 - r.a1; i++)
			m->out[a->at[r.a1 + i]] = b->at[r.b1 + i];
		if (is_one_sided(r))
			return;
		struct search s = {
			.front = {{a->ids + r.a0, b->ids + r.b0, 1, NULL},
				  {a->ids + r.a1 - 1, b->ids + r.b1 - 1, -1, NULL}},
			.n = (int32_t)(r.a1 - r.a0),
			.m = (int32_t)(r.b1 - r.b0),
		};
		bool found = m->budget > 0 && middle(m, &s, &p);
		m->budget -= s.cost < m->budget ? s.cost : m->budget;
		if (!found) {
			m->gave_up = true;
			return;
		}
		struct range first = {r.a0, r.a0 + (uint32_t)p.x, r.b0, r.b0 + (uint32_t)p.y};
		struct range second = {first.a1, r.a1, first.b1, r.b1};
		assert(range_size(first) && range_size(second));
		bool swap = range_size(first) > range_size(second);
		myers(m, a, b, swap ? second : first);
		whole = swap ? first : second;
	}
}

/* ---- anchors ----------------------------------------------------------------------------------- */

struct anchor {
	uint32_t a;
	uint32_t b;
	uint32_t prev; /* the one before in the best chain that ends here */
};

static void count_range(struct match *m, struct range r)
{
	for (uint32_t i = r.a0; i < r.a1; i++) {
		uint8_t *n = &m->in_a[m->a[i]];

		*n = (uint8_t)(*n + (*n < 2));
	}
	for (uint32_t i = r.b0; i < r.b1; i++) {
		uint8_t *n = &m->in_b[m->b[i]];

		*n = (uint8_t)(*n + (*n < 2));
		m->where[m->b[i]] = i;
	}
}

static void uncount(struct match *m, struct range r)
{
	for (uint32_t i = r.a0; i < r.a1; i++)
		m->in_a[m->a[i]] = 0;
	for (uint32_t i = r.b0; i < r.b1; i++)
		m->in_b[m->b[i]] = 0;
}

static bool is_anchor(const struct match *m, uint32_t id)
{
	return m->in_a[id] == 1 && m->in_b[id] == 1;
}

/* Leaves the longest chain that ascends on both sides in front. Returns its length. */
static uint32_t longest_chain(struct anchor *list, uint32_t count)
{
	AUTO(free_ptr) uint32_t *ends = xreallocarray(NULL, count, sizeof(*ends));
	uint32_t len = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t low = 0;
		uint32_t high = len;

		while (low < high) {
			uint32_t mid = low + (high - low) / 2;

			if (list[ends[mid]].b < list[i].b)
				low = mid + 1;
			else
				high = mid;
		}
		list[i].prev = low ? ends[low - 1] : DIFF_UNMATCHED;
		ends[low] = i;
		len += low == len;
	}
	uint32_t at = len ? ends[len - 1] : DIFF_UNMATCHED;
	for (uint32_t i = len; i > 0; i--) {
		ends[i - 1] = at;
		at = list[at].prev;
	}
	for (uint32_t i = 0; i < len; i++)
		list[i] = list[ends[i]];
	return len;
}

/* What stands once on either side, in order. *ret is the caller's. */
static uint32_t anchors(struct match *m, struct range r, struct anchor **ret)
{
	uint32_t count = 0;

	for (uint32_t i = r.a0; i < r.a1; i++)
		count += is_anchor(m, m->a[i]);
	struct anchor *list = xreallocarray(NULL, count ? count : 1, sizeof(*list));
	count = 0;
	for (uint32_t i = r.a0; i < r.a1; i++) {
		if (is_anchor(m, m->a[i]))
			list[count++] = (struct anchor){i, m->where[m->a[i]], 0};
	}
	*ret = list;
	return count ? longest_chain(list, count) : 0;
}

static struct shared shared_create(const uint32_t *ids, uint32_t from, uint32_t to,
				   const uint8_t *other)
{
	struct shared h = {NULL, NULL, 0};
	uint32_t count = 0;

	for (uint32_t i = from; i < to; i++)
		count += other[ids[i]] > 0;
	h.ids = xreallocarray(NULL, 2 * (size_t)count + 1, sizeof(*h.ids));
	h.at = h.ids + count;
	for (uint32_t i = from; i < to; i++) {
		if (other[ids[i]]) {
			h.ids[h.count] = ids[i];
			h.at[h.count++] = i;
		}
	}
	return h;
}

static void without_anchors(struct match *m, struct range r)
{
	struct shared a = shared_create(m->a, r.a0, r.a1, m->in_b);
	struct shared b = shared_create(m->b, r.b0, r.b1, m->in_a);

	uncount(m, r);
	myers(m, &a, &b, (struct range){0, a.count, 0, b.count});
	free(a.ids);
	free(b.ids);
}

static void solve(struct match *m, struct range whole, unsigned depth)
{
	struct range r = trim(m->a, m->b, whole);
	struct anchor *list = NULL;
	uint32_t count = 0;

	for (uint32_t i = 0; i < r.a0 - whole.a0; i++)
		m->out[whole.a0 + i] = whole.b0 + i;
	for (uint32_t i = 0; i < whole.a1 - r.a1; i++)
		m->out[r.a1 + i] = r.b1 + i;
	if (is_one_sided(r))
		return;
	count_range(m, r);
	if (depth < ANCHOR_DEPTH_MAX && range_size(r) > m->rules->exact)
		count = anchors(m, r, &list);
	if (count == 0) {
		without_anchors(m, r);
		free(list);
		return;
	}
	uncount(m, r);
	struct range gap = r;
	for (uint32_t i = 0; i < count; i++) {
		gap.a1 = list[i].a;
		gap.b1 = list[i].b;
		solve(m, gap, depth + 1);
		m->out[gap.a1] = gap.b1;
		gap.a0 = gap.a1 + 1;
		gap.b0 = gap.b1 + 1;
	}
	gap.a1 = r.a1;
	gap.b1 = r.b1;
	free(list);
	solve(m, gap, depth + 1);
}

bool diff_match(struct diff_seq a, struct diff_seq b, const struct diff_match_rules *rules,
		uint64_t *budget, uint32_t *ret_match)
{
	struct match m = {
		.a = a.ids,
		.b = b.ids,
		.out = ret_match,
		.rules = rules,
		.budget = *budget,
		.v_reach = rules->reach,
	};
	uint64_t size = (uint64_t)a.count + b.count;

	assert(size < INT32_MAX);
	if (size / 2 + 2 < m.v_reach)
		m.v_reach = (uint32_t)size / 2 + 2;
	m.in_a = xcalloc(2, rules->kinds);
	m.in_b = m.in_a + rules->kinds;
	m.where = xreallocarray(NULL, rules->kinds, sizeof(*m.where));
	m.v = xreallocarray(NULL, 2 * (2 * (size_t)m.v_reach + 4), sizeof(*m.v));
	for (uint32_t i = 0; i < a.count; i++)
		ret_match[i] = DIFF_UNMATCHED;
	solve(&m, (struct range){0, a.count, 0, b.count}, 0);
	*budget = m.budget;
	free(m.in_a);
	free(m.where);
	free(m.v);
	return !m.gave_up;
}
