/* The table of invitations. */
#include "net/invite.h"

#include "core/log.h"
#include "core/thread.h"
#include "net/find.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct invite {
	uint64_t id; /* 0 = free */
	struct invite_secrets secrets;
	uint64_t expires_ms; /* monotonic */
	enum invite_state state;
	bool claimed;
	bool by_code; /* claimed with the code */
	enum member_role role;
	bool ask;
	bool approved;
	bool cancelled;
	struct device device;
	char words[NET_WORDS_BYTES];
	struct invite_place *places; /* while it waits */
	size_t place_count;
};

struct invites {
	struct db *db;
	struct mutex lock;
	struct cond changed;
	struct invite table[INVITE_COUNT_MAX]; /* protected by lock */
};

/* Nobody can use it any more. */
static void forget_secrets(struct invite *e)
{
	find_withdraw(STEAL(e->secrets.published));
	wipe(&e->secrets, sizeof(e->secrets));
	free(STEAL(e->places));
	e->place_count = 0;
}

struct invites *invites_create(struct db *db)
{
	struct invites *v = xcalloc(1, sizeof(*v));

	v->db = db;
	mutex_init(&v->lock);
	cond_init(&v->changed);
	return v;
}

void invites_destroy(struct invites *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < countof(v->table); i++)
		forget_secrets(&v->table[i]);
	cond_fini(&v->changed);
	mutex_fini(&v->lock);
	wipe(v, sizeof(*v));
	free(v);
}

static uint64_t id_from_bytes(const uint8_t bytes[HELLO_INVITE_BYTES])
{
	struct reader r = reader_init(SLICE(bytes, HELLO_INVITE_BYTES));

	return reader_be64(&r);
}

static struct invite *find_locked(struct invites *v, uint64_t id)
{
	for (size_t i = 0; i < countof(v->table); i++) {
		if (v->table[i].id == id)
			return id ? &v->table[i] : NULL;
	}
	return NULL;
}

/* Lets time pass: what waits too long has expired. */
static void expire_locked(struct invites *v)
{
	uint64_t now = monotonic_ms();

	for (size_t i = 0; i < countof(v->table); i++) {
		struct invite *e = &v->table[i];

		if (e->id == 0 || e->state != INVITE_WAITING || e->claimed || e->expires_ms > now)
			continue;
		e->state = INVITE_EXPIRED;
		forget_secrets(e);
	}
}

/* A free entry, or the oldest that waits for nothing any more; NULL when all are waiting. */
static struct invite *free_entry_locked(struct invites *v)
{
	struct invite *oldest = NULL;

	for (size_t i = 0; i < countof(v->table); i++) {
		struct invite *e = &v->table[i];

		if (e->id == 0)
			return e;
		if (e->state != INVITE_WAITING && e->state != INVITE_ASKING &&
		    (!oldest || e->expires_ms < oldest->expires_ms))
			oldest = e;
	}
	return oldest;
}

int invites_add(struct invites *v, const struct invite_options *options,
		struct invite_secrets *secrets, uint64_t *ret_id)
{
	uint8_t bytes[HELLO_INVITE_BYTES];

	hello_invite_id(secrets->link, bytes);
	*ret_id = id_from_bytes(bytes);
	mutex_lock(&v->lock);
	expire_locked(v);
	struct invite *e = *ret_id ? free_entry_locked(v) : NULL;
	if (e) {
		wipe(e, sizeof(*e));
		e->id = *ret_id;
		e->state = INVITE_WAITING;
		e->ask = options->ask;
		e->role = options->role;
		e->expires_ms = monotonic_ms() + options->ttl_ms;
		e->secrets = *secrets;
	}
	mutex_unlock(&v->lock);
	return e ? 0 : -EAGAIN;
}

enum member_role invites_role(struct invites *v, uint64_t id)
{
	mutex_lock(&v->lock);
	const struct invite *e = find_locked(v, id);
	enum member_role role = e ? e->role : MEMBER_RELAY;
	mutex_unlock(&v->lock);
	return role;
}

/* The end of an invitation, whichever. */
static void settle_locked(struct invites *v, struct invite *e, enum invite_state state)
{
	e->state = state;
	e->claimed = false;
	forget_secrets(e);
	cond_broadcast(&v->changed);
}

void invites_cancel(struct invites *v, uint64_t id)
{
	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && (e->state == INVITE_WAITING || e->state == INVITE_ASKING)) {
		e->cancelled = true;
		settle_locked(v, e, INVITE_EXPIRED);
	}
	mutex_unlock(&v->lock);
}

enum invite_state invites_wait(struct invites *v, uint64_t id, uint64_t deadline_ms,
			       struct device *ret_device, char ret_words[NET_WORDS_BYTES])
{
	enum invite_state state = INVITE_UNKNOWN;

	mutex_lock(&v->lock);
	for (;;) {
		expire_locked(v);
		const struct invite *e = find_locked(v, id);
		if (!e)
			break;
		state = e->state;
		if (state == INVITE_DONE || state == INVITE_ASKING) {
			*ret_device = e->device;
			memcpy(ret_words, e->words, sizeof(e->words));
		}
		if (state != INVITE_WAITING || monotonic_ms() >= deadline_ms)
			break;
		bool expires_first = !e->claimed && e->expires_ms < deadline_ms;
		(void)cond_wait_until(&v->changed, &v->lock,
				      expires_first ? e->expires_ms : deadline_ms);
	}
	mutex_unlock(&v->lock);
	return state;
}

void invites_answer(struct invites *v, uint64_t id, bool yes)
{
	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && e->state == INVITE_ASKING) {
		e->approved = yes;
		e->state = INVITE_WAITING; /* for the other person */
		if (!yes)
			settle_locked(v, e, INVITE_DECLINED);
	}
	mutex_unlock(&v->lock);
}

/* ---- RENDEZVOUS ----------------------------------------------------------------------------- */

size_t invites_waiting(struct invites *v, struct invite_wait ret[INVITE_COUNT_MAX])
{
	size_t n = 0;

	mutex_lock(&v->lock);
	expire_locked(v);
	for (size_t i = 0; i < countof(v->table); i++) {
		const struct invite *e = &v->table[i];

		if (e->id == 0 || (e->state != INVITE_WAITING && e->state != INVITE_ASKING))
			continue;
		ret[n++] = (struct invite_wait){
			.id = e->id,
			.nameplate = e->secrets.nameplate,
			.claimed = e->claimed || e->state == INVITE_ASKING,
		};
	}
	mutex_unlock(&v->lock);
	return n;
}

void invites_placed(struct invites *v, uint64_t id, const struct invite_place *place)
{
	size_t i = 0;

	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && e->state == INVITE_WAITING) {
		while (i < e->place_count && strcmp(e->places[i].relay, place->relay) != 0)
			i++;
		if (i == e->place_count)
			e->places = xreallocarray(e->places, ++e->place_count, sizeof(*e->places));
		e->places[i] = *place;
	}
	mutex_unlock(&v->lock);
}

size_t invites_places(struct invites *v, uint64_t id, struct invite_place *ret, size_t max)
{
	size_t n = 0;

	mutex_lock(&v->lock);
	const struct invite *e = find_locked(v, id);
	for (; e && n < e->place_count && n < max; n++)
		ret[n] = e->places[n];
	mutex_unlock(&v->lock);
	return n;
}

/* ---- memory of what was used ---------------------------------------------------------------- */

static uint64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct used {
	uint64_t id;
	uint64_t time_ms;
};

/* What the setting tells, without what is too old. Returns the count. */
static size_t load_used(struct db *db, struct used out[INVITE_USED_MAX])
{
	AUTO(free_ptr) char *text = NULL;
	uint64_t now = wall_ms();
	size_t count = 0;

	if (db_get_setting(db, "invites", &text) < 0)
		return 0;
	char *rest = NULL;
	for (char *word = strtok_r(text, " ", &rest); word && count < INVITE_USED_MAX;
	     word = strtok_r(NULL, " ", &rest)) {
		struct used u;

		if (sscanf(word, "%" SCNx64 ":%" SCNu64, &u.id, &u.time_ms) != 2)
			continue;
		if (u.time_ms + INVITE_MEMORY_MS > now)
			out[count++] = u;
	}
	return count;
}

static bool was_used(struct db *db, uint64_t id)
{
	struct used used[INVITE_USED_MAX];
	size_t count = load_used(db, used);

	for (size_t i = 0; i < count; i++) {
		if (used[i].id == id)
			return true;
	}
	return false;
}

static void remember_used(struct db *db, uint64_t id)
{
	struct used used[INVITE_USED_MAX];
	AUTO(buf_fini) struct buf text = {0};
	size_t count = load_used(db, used);
	size_t skip = count == INVITE_USED_MAX ? 1 : 0; /* the oldest is the first */

	for (size_t i = skip; i < count; i++)
		buf_printf(&text, "%016" PRIx64 ":%" PRIu64 " ", used[i].id, used[i].time_ms);
	buf_printf(&text, "%016" PRIx64 ":%" PRIu64, id, wall_ms());
	int r = db_set_setting(db, "invites", buf_str(&text));
	if (r < 0)
		log_warn("cannot remember that an invitation was used: %s, ignoring", strerror(-r));
}

/* ---- the responder's side ------------------------------------------------------------------- */

static enum hello_status claim_locked(struct invites *v, struct invite *e, bool by_code,
				      uint8_t ret_secret[32])
{
	expire_locked(v);
	switch (e->state) {
	case INVITE_WAITING:
		if (e->claimed)
			return HELLO_BUSY;
		e->claimed = true;
		e->by_code = by_code;
		memcpy(ret_secret, by_code ? e->secrets.code : e->secrets.link, 32);
		return HELLO_OK;
	case INVITE_ASKING:
		return HELLO_BUSY;
	case INVITE_DONE:
		return HELLO_USED;
	case INVITE_WRONG:
	case INVITE_DECLINED:
		return HELLO_VOID;
	case INVITE_EXPIRED:
		return e->cancelled ? HELLO_VOID : HELLO_EXPIRED;
	case INVITE_UNKNOWN:
		break;
	}
	return HELLO_UNKNOWN;
}

/* The one that waits under this nameplate. */
static struct invite *find_nameplate_locked(struct invites *v, uint32_t nameplate)
{
	for (size_t i = 0; i < countof(v->table); i++) {
		if (v->table[i].id && v->table[i].secrets.nameplate == nameplate)
			return &v->table[i];
	}
	return NULL;
}

enum hello_status invites_claim(struct invites *v, const struct hello *h, uint8_t ret_secret[32],
				uint64_t *ret_id)
{
	enum hello_status status = HELLO_UNKNOWN;
	bool by_code = h->mode == HELLO_CODE;
	uint64_t id = by_code ? 0 : id_from_bytes(h->invite);

	mutex_lock(&v->lock);
	struct invite *e = by_code ? find_nameplate_locked(v, h->nameplate) : find_locked(v, id);
	if (e) {
		status = claim_locked(v, e, by_code, ret_secret);
		*ret_id = e->id;
	}
	mutex_unlock(&v->lock);
	if (!e && !by_code && was_used(v->db, id))
		status = HELLO_USED;
	return status;
}

bool invites_know(struct invites *v, const struct hello *h)
{
	bool by_code = h->mode == HELLO_CODE;
	uint64_t id = id_from_bytes(h->invite);

	if (!by_code && h->mode != HELLO_LINK)
		return false;
	mutex_lock(&v->lock);
	bool found = by_code ? find_nameplate_locked(v, h->nameplate) != NULL
			     : find_locked(v, id) != NULL;
	mutex_unlock(&v->lock);
	return found || (!by_code && was_used(v->db, id));
}

static void settle(struct invites *v, uint64_t id, enum invite_state state, const struct device *d,
		   const char *words)
{
	remember_used(v->db, id);
	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && d) {
		e->device = *d;
		(void)snprintf(e->words, sizeof(e->words), "%s", words);
	}
	if (e)
		settle_locked(v, e, state);
	mutex_unlock(&v->lock);
}

void invites_release(struct invites *v, uint64_t id)
{
	bool tried = false;

	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && e->state == INVITE_ASKING)
		e->state = INVITE_WAITING;
	if (e && e->state == INVITE_WAITING) {
		tried = e->by_code; /* ONE GUESS: who breaks off gets no second */
		e->claimed = false;
		e->approved = false;
		cond_broadcast(&v->changed); /* it may have expired meanwhile */
	}
	mutex_unlock(&v->lock);
	if (tried)
		invites_wrong(v, id);
}

void invites_wrong(struct invites *v, uint64_t id)
{
	settle(v, id, INVITE_WRONG, NULL, NULL);
}

int invites_ask(struct invites *v, uint64_t id, const struct device *d, const char *words)
{
	int r = 1;

	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && e->ask && e->state == INVITE_WAITING && !e->approved) {
		e->state = INVITE_ASKING;
		e->device = *d;
		(void)snprintf(e->words, sizeof(e->words), "%s", words);
		cond_broadcast(&v->changed);
		r = 0;
	}
	mutex_unlock(&v->lock);
	return r;
}

int invites_answered(struct invites *v, uint64_t id)
{
	int r = -EACCES;

	mutex_lock(&v->lock);
	const struct invite *e = find_locked(v, id);
	if (e && e->state == INVITE_ASKING)
		r = 0;
	else if (e && e->state == INVITE_WAITING && e->approved)
		r = 1;
	mutex_unlock(&v->lock);
	return r;
}

void invites_finish(struct invites *v, uint64_t id, const struct device *d, const char *words)
{
	settle(v, id, INVITE_DONE, d, words);
}
