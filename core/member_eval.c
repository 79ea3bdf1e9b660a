/* EVALUATE; see member.h. */
#include "core/member.h"

#include "core/account.h"

#include <stdlib.h>
#include <string.h>

void member_list_fini(struct member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_fini(&members[i].cert);
		free(members[i].cuts);
		free(members[i].adopted);
	}
	free(members);
}

static struct member *find(const struct evaluation *e, uint64_t actor)
{
	for (size_t i = 0; i < e->member_count; i++) {
		if (e->members[i].device.actor == actor)
			return &e->members[i];
	}
	return NULL;
}

/* ---- the account ---------------------------------------------------------------------------- */

/* The founder said it before there was a feed, and nobody can say it again: changes are numbered from 1. */
int member_account(const struct evaluation *e, uint8_t ret_pk[KEYS_PK_BYTES])
{
	struct device founder;

	if (device_read_cert(e->founder, &founder) < 0)
		return -ENOENT;
	for (size_t i = 0; i < e->entry_count; i++) {
		const struct auth_entry *entry = &e->entries[i];
		struct auth_op op;

		if (entry->seq != 0 || entry->id.actor != founder.actor ||
		    auth_decode(buf_slice(&entry->value), &op) < 0 || op.kind != AUTH_SETTING ||
		    !slice_eq(op.name, SLICE_STR(ACCOUNT_SETTING)))
			continue;
		AUTO(free_ptr)
		char *text = xasprintf("%.*s", (int)op.value.len, (const char *)op.value.data);
		return account_parse(text, ret_pk) < 0 ? -ENOENT : 0;
	}
	return -ENOENT;
}

static bool is_genuine(const struct evaluation *e, const uint8_t pk[KEYS_PK_BYTES],
		       const struct auth_entry *entry, const struct auth_op *op)
{
	AUTO(buf_fini) struct buf text = {0};

	auth_account_text(&e->db, entry->id.actor, entry->seq, op->inner, &text);
	return keys_verify(pk, buf_slice(&text), op->signature.data);
}

/* Looks at each signature once. */
static void check_signatures(struct evaluation *e)
{
	uint8_t pk[KEYS_PK_BYTES];
	bool has_account = member_account(e, pk) == 0;

	for (size_t i = 0; i < e->entry_count; i++) {
		struct auth_entry *entry = &e->entries[i];
		struct auth_op op;

		if (entry->genuine != 0 || auth_decode(buf_slice(&entry->value), &op) < 0 ||
		    op.kind != AUTH_ACCOUNT)
			continue;
		entry->genuine = has_account && is_genuine(e, pk, entry, &op) ? 1 : -1;
	}
}

/* What an entry says, and whether the account says it. < 0: nothing that counts. */
static int read_entry(const struct auth_entry *entry, struct auth_op *ret, bool *ret_account)
{
	int r = auth_decode(buf_slice(&entry->value), ret);

	*ret_account = r == 0 && ret->kind == AUTH_ACCOUNT;
	if (!*ret_account)
		return r;
	return entry->genuine > 0 ? auth_decode(ret->inner, ret) : -EACCES;
}

/* ---- who there is --------------------------------------------------------------------------- */

static void add(struct evaluation *e, const struct device *d, struct slice cert, struct opid first)
{
	for (size_t i = 0; i < e->member_count; i++) {
		const struct device *o = &e->members[i].device;

		/* A certificate with another's connection key would answer in that device's place. */
		if (o->actor == d->actor || memcmp(o->dh_pk, d->dh_pk, sizeof(d->dh_pk)) == 0)
			return;
	}
	if (e->member_count >= MEMBERS_MAX)
		return;
	e->members = xreallocarray(e->members, e->member_count + 1, sizeof(*e->members));
	struct member *m = &e->members[e->member_count++];
	*m = (struct member){.device = *d, .first = first, .since = first};
	m->role = MEMBER_OWNER;
	buf_slice_append(&m->cert, cert);
}

/*
 * Everybody somebody ever named, in order of seniority. Only who was named before names others, so nobody is more senior than
 * those it owes that to, whatever numbers its operations have.
 */
static void gather(struct evaluation *e)
{
	struct device d;

	e->members = NULL;
	e->member_count = 0;
	if (device_read_cert(e->founder, &d) == 0)
		add(e, &d, e->founder, (struct opid){0});
	for (size_t i = 0; i < e->entry_count; i++) {
		const struct auth_entry *entry = &e->entries[i];
		struct auth_op op;
		bool account = false;

		if (read_entry(entry, &op, &account) == 0 && op.kind == AUTH_MEMBER &&
		    (account || find(e, entry->id.actor)) && device_read_cert(op.cert, &d) == 0)
			add(e, &d, op.cert, entry->id);
	}
}

/* ---- where a device stands ------------------------------------------------------------------ */

/* Something that was decided about a device. */
struct event {
	struct opid id;
	enum auth_kind kind; /* MEMBER, REMOVE, ROLE */
	enum member_role role;
	uint64_t cut; /* of its feed of `auth` */
};

/* Sorted by id. */
struct stand {
	bool founder;
	struct event *events;
	size_t count;
};

static void stand_add(struct stand *st, const struct event *ev)
{
	size_t i = st->count;

	st->events = xreallocarray(st->events, st->count + 1, sizeof(*st->events));
	while (i > 0 && opid_cmp(st->events[i - 1].id, ev->id) > 0)
		i--;
	memmove(st->events + i + 1, st->events + i, (st->count - i) * sizeof(*st->events));
	st->events[i] = *ev;
	st->count++;
}

/* What it could do in this change of its feed of `auth`; 0 = nothing. */
static enum member_role stand_right(const struct stand *st, struct opid id, uint64_t seq)
{
	enum member_role role = st->founder ? MEMBER_OWNER : 0;
	bool out = false;

	for (size_t i = 0; i < st->count; i++) {
		const struct event *ev = &st->events[i];
		bool before = opid_cmp(ev->id, id) < 0;

		if (ev->kind == AUTH_MEMBER) {
			if (!before)
				continue;
			/* Who is a member already is not given less by being admitted once more. */
			role = out || ev->role > role ? ev->role : role;
			out = false;
		} else if (seq <= ev->cut && (ev->kind == AUTH_REMOVE || ev->role < role)) {
			continue; /* it had done that by then */
		} else if (ev->kind == AUTH_REMOVE) {
			if (!before)
				return 0;
			out = true;
		} else if (role && (before || ev->role < role)) {
			role = ev->role;
		}
	}
	return out ? 0 : role;
}

/* ---- cuts ----------------------------------------------------------------------------------- */

static int cut_cmp(const void *a, const void *b)
{
	const struct feed_pos *x = a;
	const struct feed_pos *y = b;

	return id_cmp(&x->stream, &y->stream);
}

/* What anybody held before it heard of the removal counts. */
static void raise_cut(struct member *m, const struct id *stream, uint64_t seq)
{
	for (size_t i = 0; i < m->cut_count; i++) {
		if (!id_eq(&m->cuts[i].stream, stream))
			continue;
		m->cuts[i].seq = seq > m->cuts[i].seq ? seq : m->cuts[i].seq;
		return;
	}
	m->cuts = xreallocarray(m->cuts, m->cut_count + 1, sizeof(*m->cuts));
	m->cuts[m->cut_count++] =
		(struct feed_pos){.stream = *stream, .actor = m->device.actor, .seq = seq};
	qsort(m->cuts, m->cut_count, sizeof(*m->cuts), cut_cmp);
}

/* ---- the two steps -------------------------------------------------------------------------- */

struct steps {
	struct evaluation *e;
	struct stand *base; /* by what more senior devices say */
	struct stand *full; /* by what all say */
};

static uint64_t auth_cut(const struct evaluation *e, struct slice cuts)
{
	struct id stream;
	uint64_t found = 0;
	uint64_t seq = 0;

	while (auth_next_cut(&cuts, &stream, &seq)) {
		if (id_eq(&stream, &e->auth_stream) && seq > found)
			found = seq;
	}
	return found;
}

/* The device that it is about, or NULL. */
static struct member *object_of(const struct evaluation *e, const struct auth_op *op)
{
	struct device d;

	if (op->kind != AUTH_MEMBER)
		return find(e, op->device);
	return device_read_cert(op->cert, &d) == 0 ? find(e, d.actor) : NULL;
}

/* Step 1, of one operation. author: NULL is the account. */
static void judge(struct steps *x, const struct member *author, enum member_role right,
		  struct auth_entry *entry, const struct auth_op *op)
{
	struct event ev = {.id = entry->id,
			   .kind = op->kind,
			   .role = op->role < right ? op->role : right,
			   .cut = auth_cut(x->e, op->cuts)};

	if (op->kind != AUTH_MEMBER && op->kind != AUTH_REMOVE && op->kind != AUTH_ROLE)
		return;
	struct member *m = object_of(x->e, op);
	if (!m)
		return;
	size_t at = (size_t)(m - x->e->members);
	bool senior = !author || author < m;
	if (op->kind == AUTH_REMOVE || (op->kind == AUTH_ROLE && senior && op->role <= right)) {
		entry->effective = true;
		stand_add(&x->full[at], &ev);
	}
	if (senior && (op->kind == AUTH_MEMBER || entry->effective))
		stand_add(&x->base[at], &ev);
}

static void judge_all(struct steps *x)
{
	struct auth_op op;
	bool account = false;

	for (size_t k = 0; k < x->e->entry_count; k++) {
		struct auth_entry *entry = &x->e->entries[k];

		entry->effective = false;
		if (read_entry(entry, &op, &account) == 0 && account)
			judge(x, NULL, MEMBER_OWNER, entry, &op);
	}
	for (size_t i = 0; i < x->e->member_count; i++) {
		const struct member *author = &x->e->members[i];

		for (size_t k = 0; k < x->e->entry_count; k++) {
			struct auth_entry *entry = &x->e->entries[k];

			if (entry->id.actor != author->device.actor)
				continue;
			enum member_role right = stand_right(&x->base[i], entry->id, entry->seq);
			if (right >= MEMBER_MANAGE && read_entry(entry, &op, &account) == 0 &&
			    !account)
				judge(x, author, right, entry, &op);
		}
	}
}

static void admit(struct steps *x, const struct auth_entry *entry, const struct auth_op *op,
		  enum member_role right)
{
	struct member *m = object_of(x->e, op);

	if (!m)
		return;
	const struct event ev = {
		.id = entry->id, .kind = AUTH_MEMBER, .role = op->role < right ? op->role : right};
	struct stand *st = &x->full[m - x->e->members];
	/* Two may admit it without knowing of each other: it came with the first, and what that one granted counts. */
	if (!m->admitted || !stand_right(st, entry->id, UINT64_MAX))
		m->since = entry->id;
	stand_add(st, &ev);
	m->admitted = true;
	m->admitted_by = entry->id.actor;
	m->epoch = op->epoch;
}

/* Anybody who may can give more. */
static bool promote(struct steps *x, const struct auth_entry *entry, const struct auth_op *op,
		    enum member_role right)
{
	const struct member *m = object_of(x->e, op);

	if (!m || op->role > right)
		return false;
	struct stand *st = &x->full[m - x->e->members];
	enum member_role now = stand_right(st, entry->id, UINT64_MAX);
	const struct event ev = {.id = entry->id, .kind = AUTH_ROLE, .role = op->role};
	if (!now || op->role < now)
		return false;
	stand_add(st, &ev);
	return true;
}

static int adopted_cmp(const void *a, const void *b)
{
	const struct adopted *x = a;
	const struct adopted *y = b;
	int c = id_cmp(&x->stream, &y->stream);

	return c ? c : (x->first > y->first) - (x->first < y->first);
}

/* Index of the first that begins after the change. */
static size_t adopted_after(const struct member *m, const struct id *stream, uint64_t seq)
{
	const struct adopted at = {.stream = *stream, .first = seq};
	size_t lo = 0;
	size_t hi = m->adopted_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (adopted_cmp(&m->adopted[mid], &at) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct adopted *member_adopted(const struct member *m, const struct id *stream, uint64_t seq)
{
	size_t i = adopted_after(m, stream, seq);
	const struct adopted *a = i > 0 ? &m->adopted[i - 1] : NULL;

	return a && id_eq(&a->stream, stream) && seq <= a->last ? a : NULL;
}

/* Whether it says nothing else of a change than what was said before it. */
static bool goes_with(const struct member *m, const struct adopted *one)
{
	size_t i = adopted_after(m, &one->stream, one->last);
	const struct adopted *a = i > 0 ? &m->adopted[i - 1] : NULL;

	if (!a || !id_eq(&a->stream, &one->stream) || a->last < one->first)
		return true;
	return a->first == one->first && a->last == one->last &&
	       memcmp(a->hash, one->hash, sizeof(a->hash)) == 0;
}

/*
 * ADOPT. All of it or nothing: of two that name different envelopes for one change, which only a device that tells different
 * things to different devices can have made, the first in the order of operations counts.
 */
static bool adopt(struct steps *x, const struct auth_op *op)
{
	struct member *m = object_of(x->e, op);
	struct slice list = op->adopted;
	const uint8_t *hash = NULL;
	uint64_t first = op->first;
	uint64_t last = 0;

	if (!m || first == 0 || id_eq(&op->stream, &x->e->auth_stream))
		return false;
	size_t count = m->adopted_count;
	struct adopted *all = xcalloc(count + list.len / AUTH_ADOPTED_BYTES + 1, sizeof(*all));
	if (count)
		memcpy(all, m->adopted, count * sizeof(*all));
	while (auth_next_adopted(&list, &last, &hash)) {
		struct adopted one = {.stream = op->stream, .first = first, .last = last};

		memcpy(one.hash, hash, sizeof(one.hash));
		if (last < first || last == UINT64_MAX || !goes_with(m, &one)) {
			free(all);
			return false;
		}
		if (!member_adopted(m, &op->stream, last))
			all[count++] = one;
		first = last + 1;
	}
	if (count)
		qsort(all, count, sizeof(*all), adopted_cmp);
	free(m->adopted);
	m->adopted = all;
	m->adopted_count = count;
	return true;
}

/* Data that was made by who could make it, and what others had taken of it before they heard. */
static void keep_data(struct steps *x, const struct auth_op *op)
{
	struct member *m = object_of(x->e, op);
	struct slice cuts = op->cuts;
	struct id stream;
	uint64_t seq = 0;

	if (m && op->kind != AUTH_WITNESS)
		m->was_cut = true;
	while (m && auth_next_cut(&cuts, &stream, &seq)) {
		/* `auth` is no matter of data: who is a member is said by what counts of it. */
		if (!id_eq(&stream, &x->e->auth_stream))
			raise_cut(m, &stream, seq);
	}
}

/* Step 2, of one operation. */
static void take(struct steps *x, struct auth_entry *entry)
{
	enum member_role right = MEMBER_OWNER;
	struct auth_op op;
	bool account = false;

	if (read_entry(entry, &op, &account) < 0 || op.kind == AUTH_HEARD)
		return;
	if (!account) {
		const struct member *author = find(x->e, entry->id.actor);

		right = !author ? 0
				: stand_right(&x->full[author - x->e->members], entry->id,
					      entry->seq);
	}
	bool may = right >= (op.kind == AUTH_WITNESS ? MEMBER_WRITE : MEMBER_MANAGE);
	if (op.kind == AUTH_ROLE && may && !entry->effective)
		entry->effective = promote(x, entry, &op, right);
	else if (op.kind == AUTH_ADOPT)
		entry->effective = may && adopt(x, &op);
	else if (op.kind != AUTH_REMOVE && op.kind != AUTH_ROLE)
		entry->effective = may;
	if (!entry->effective)
		return;
	if (op.kind == AUTH_MEMBER)
		admit(x, entry, &op, right);
	else if (op.kind == AUTH_REMOVE || op.kind == AUTH_ROLE || op.kind == AUTH_WITNESS)
		keep_data(x, &op);
}

/* What all of it comes to. */
static void settle(struct member *m, const struct stand *st)
{
	const struct opid last = {.lamport = UINT64_MAX, .actor = UINT64_MAX};

	enum member_role role = stand_right(st, last, UINT64_MAX);
	m->removed = role == 0;
	if (role)
		m->role = role;
	for (size_t i = 0; i < st->count; i++) {
		if (st->events[i].kind == AUTH_REMOVE && m->removed)
			m->removal = st->events[i].id;
	}
}

void member_evaluate(struct evaluation *e)
{
	struct steps x = {.e = e};
	struct device own;

	check_signatures(e);
	gather(e);
	x.base = xcalloc(e->member_count + 1, sizeof(*x.base));
	x.full = xcalloc(e->member_count + 1, sizeof(*x.full));
	if (e->member_count > 0 && e->members[0].first.lamport == 0)
		x.base[0].founder = x.full[0].founder = e->members[0].admitted = true;
	judge_all(&x);
	for (size_t k = 0; k < e->entry_count; k++)
		take(&x, &e->entries[k]);
	for (size_t i = 0; i < e->member_count; i++) {
		settle(&e->members[i], &x.full[i]);
		free(x.base[i].events);
		free(x.full[i].events);
	}
	free(x.base);
	free(x.full);
	if (device_read_cert(e->own, &own) == 0 && !find(e, own.actor)) {
		add(e, &own, e->own, (struct opid){.lamport = UINT64_MAX});
		e->members[e->member_count - 1].admitted = true;
	}
}
