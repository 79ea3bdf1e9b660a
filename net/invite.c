/* The table of invitations. */
#include "net/invite.h"

#include "core/log.h"
#include "core/thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct invite {
	uint64_t id; /* 0 = free */
	uint8_t secret[32];
	uint64_t expires_ms; /* monotonic */
	enum invite_state state;
	bool claimed;
	bool cancelled;
	struct device device;
	char code[16];
};

struct invites {
	struct db *db;
	struct mutex lock;
	struct cond changed;
	struct invite table[INVITE_COUNT_MAX]; /* protected by lock */
};

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
		wipe(e->secret, sizeof(e->secret));
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
		if (e->state != INVITE_WAITING && (!oldest || e->expires_ms < oldest->expires_ms))
			oldest = e;
	}
	return oldest;
}

int invites_add(struct invites *v, uint64_t ttl_ms, uint8_t ret_secret[32], uint64_t *ret_id)
{
	uint8_t bytes[HELLO_INVITE_BYTES];

	do {
		random_bytes(ret_secret, 32);
		hello_invite_id(ret_secret, bytes);
		*ret_id = id_from_bytes(bytes);
	} while (*ret_id == 0);

	mutex_lock(&v->lock);
	expire_locked(v);
	struct invite *e = free_entry_locked(v);
	if (e) {
		wipe(e, sizeof(*e));
		e->id = *ret_id;
		e->state = INVITE_WAITING;
		e->expires_ms = monotonic_ms() + ttl_ms;
		memcpy(e->secret, ret_secret, sizeof(e->secret));
	}
	mutex_unlock(&v->lock);
	return e ? 0 : -EAGAIN;
}

/* The end of an invitation, whichever. */
static void settle_locked(struct invites *v, struct invite *e, enum invite_state state)
{
	e->state = state;
	e->claimed = false;
	wipe(e->secret, sizeof(e->secret));
	cond_broadcast(&v->changed);
}

void invites_cancel(struct invites *v, uint64_t id)
{
	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && e->state == INVITE_WAITING) {
		e->cancelled = true;
		settle_locked(v, e, INVITE_EXPIRED);
	}
	mutex_unlock(&v->lock);
}

enum invite_state invites_wait(struct invites *v, uint64_t id, uint64_t deadline_ms,
			       struct device *ret_device, char ret_code[16])
{
	enum invite_state state = INVITE_UNKNOWN;

	mutex_lock(&v->lock);
	for (;;) {
		expire_locked(v);
		const struct invite *e = find_locked(v, id);
		if (!e)
			break;
		state = e->state;
		if (state == INVITE_DONE) {
			*ret_device = e->device;
			memcpy(ret_code, e->code, sizeof(e->code));
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

static enum hello_status claim_locked(struct invites *v, struct invite *e, uint8_t ret_secret[32])
{
	expire_locked(v);
	switch (e->state) {
	case INVITE_WAITING:
		if (e->claimed)
			return HELLO_BUSY;
		e->claimed = true;
		memcpy(ret_secret, e->secret, sizeof(e->secret));
		return HELLO_OK;
	case INVITE_DONE:
		return HELLO_USED;
	case INVITE_WRONG:
		return HELLO_VOID;
	case INVITE_EXPIRED:
		return e->cancelled ? HELLO_VOID : HELLO_EXPIRED;
	case INVITE_UNKNOWN:
		break;
	}
	return HELLO_UNKNOWN;
}

enum hello_status invites_claim(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES],
				uint8_t ret_secret[32])
{
	enum hello_status status = HELLO_UNKNOWN;

	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id_from_bytes(id));
	if (e)
		status = claim_locked(v, e, ret_secret);
	mutex_unlock(&v->lock);
	if (!e && was_used(v->db, id_from_bytes(id)))
		status = HELLO_USED;
	return status;
}

void invites_release(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES])
{
	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id_from_bytes(id));
	if (e && e->state == INVITE_WAITING) {
		e->claimed = false;
		cond_broadcast(&v->changed); /* it may have expired meanwhile */
	}
	mutex_unlock(&v->lock);
}

static void settle(struct invites *v, uint64_t id, enum invite_state state, const struct device *d,
		   const char *code)
{
	remember_used(v->db, id);
	mutex_lock(&v->lock);
	struct invite *e = find_locked(v, id);
	if (e && d) {
		e->device = *d;
		(void)snprintf(e->code, sizeof(e->code), "%s", code);
	}
	if (e)
		settle_locked(v, e, state);
	mutex_unlock(&v->lock);
}

void invites_wrong(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES])
{
	settle(v, id_from_bytes(id), INVITE_WRONG, NULL, NULL);
}

void invites_finish(struct invites *v, const uint8_t id[HELLO_INVITE_BYTES], const struct device *d,
		    const char *code)
{
	settle(v, id_from_bytes(id), INVITE_DONE, d, code);
}
