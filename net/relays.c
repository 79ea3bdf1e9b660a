/* All relays of one database. */
#include "net/relays.h"

#include "core/log.h"
#include "core/thread.h"
#include "net/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTING_RELAYS "relays"
/* How soon news of a connection is looked at; and of the database, where there is no relay yet. */
#define HURRY_MS 20
#define LOOK_MS 250

/* Somebody waits for a relay's certificate. */
struct asking {
	enum {
		ASKING_NOBODY,
		ASKING_WANTED,
		ASKING_SENT,
		ASKING_ENDED
	} state;
	uint8_t dh_pk[KEYS_PK_BYTES];
	struct buf cert; /* empty: error says why */
	char error[160];
};

struct relays {
	struct relay_host host;
	struct status *status;
	struct relay **items;
	size_t count;
	uint64_t armed_ms;  /* when the timer fires; 0 = not set */
	struct relay *used; /* what is put goes there first; NULL = none can be used */
	uint64_t return_ms; /* RANKING_RETURN_MS */
	bool stopping;
	uint64_t stale_checked; /* the database's generation then */
	struct mutex lock;
	struct relay_info *infos; /* protected by lock */
	size_t info_count;
	struct cond news;     /* infos or asking are others */
	struct asking asking; /* protected by lock */
};

/* ---- the setting --------------------------------------------------------------------------------- */

static size_t read_setting(struct db *db, struct mailaddr ret[RELAYS_MAX])
{
	AUTO(free_ptr) char *text = NULL;
	char *rest = NULL;
	size_t n = 0;

	if (db_get_shared(db, SETTING_RELAYS, &text) < 0)
		return 0;
	for (char *word = strtok_r(text, " ", &rest); word && n < RELAYS_MAX;
	     word = strtok_r(NULL, " ", &rest)) {
		if (mailaddr_parse(word, &ret[n], NULL) == 0)
			n++;
	}
	wipe(text, strlen(text));
	return n;
}

static int write_setting(struct db *db, const struct mailaddr *addresses, size_t count)
{
	AUTO(buf_fini) struct buf text = {0};
	char one[MAILADDR_TEXT_BYTES];

	for (size_t i = 0; i < count; i++) {
		mailaddr_format(&addresses[i], one);
		buf_printf(&text, "%s%s", i ? " " : "", one);
	}
	return db_set_shared(db, SETTING_RELAYS, buf_str(&text));
}

static bool is_same(const struct mailaddr *a, const struct mailaddr *b)
{
	return memcmp(a->dh_pk, b->dh_pk, sizeof(a->dh_pk)) == 0;
}

static int cannot(struct why *why, const char *what, int e)
{
	if (e == -EPERM)
		return why_set(why, e,
			       "this device may not %s relays: ask an owner of the database", what);
	return why_set(why, e, "cannot %s the relay: %s", what, strerror(-e));
}

int relays_add(struct relays *r, const char *address, struct why *why)
{
	struct mailaddr known[RELAYS_MAX + 1];
	struct mailaddr a;
	int e = mailaddr_parse(address, &a, why);

	if (e < 0)
		return e;
	mutex_lock(&r->lock);
	size_t n = read_setting(r->host.db, known);
	size_t i = 0;
	while (i < n && !is_same(&known[i], &a))
		i++;
	if (i < RELAYS_MAX) {
		known[i] = a; /* a relay that has moved keeps its key */
		e = write_setting(r->host.db, known, i < n ? n : n + 1);
	}
	mutex_unlock(&r->lock);
	if (i >= RELAYS_MAX)
		return why_set(why, -ENOSPC, "there are %d relays already: remove one first",
			       RELAYS_MAX);
	return e < 0 ? cannot(why, "add", e) : 0;
}

int relays_remove(struct relays *r, const char *address, struct why *why)
{
	struct mailaddr known[RELAYS_MAX];
	char shown[MAILADDR_TEXT_BYTES];
	size_t len = strcspn(address, "#");
	size_t kept = 0;

	mutex_lock(&r->lock);
	size_t n = read_setting(r->host.db, known);
	for (size_t i = 0; i < n; i++) {
		mailaddr_show(&known[i], shown);
		if (strlen(shown) != len || strncmp(shown, address, len) != 0)
			known[kept++] = known[i];
	}
	int e = kept < n ? write_setting(r->host.db, known, kept) : -ENOENT;
	mutex_unlock(&r->lock);
	if (e == -ENOENT)
		return why_set(why, e, "no relay %.*s here: see blaze relay", (int)len, address);
	return e < 0 ? cannot(why, "remove", e) : 0;
}

/* ---- SMART --------------------------------------------------------------------------------------- */

/* address: all of it, or the part in front of the "#". */
static bool is_called(const struct mailaddr *a, const char *address)
{
	char shown[MAILADDR_TEXT_BYTES];
	size_t len = strcspn(address, "#");

	mailaddr_show(a, shown);
	return strlen(shown) == len && strncmp(shown, address, len) == 0;
}

static int find_known(struct relays *r, const char *address, struct mailaddr *ret, struct why *why)
{
	struct mailaddr known[RELAYS_MAX];
	size_t n = read_setting(r->host.db, known);
	size_t i = 0;

	while (i < n && !is_called(&known[i], address))
		i++;
	if (i < n)
		*ret = known[i];
	wipe(known, sizeof(known));
	return i < n ? 0
		     : why_set(why, -ENOENT, "no relay %.*s here: see blaze relay",
			       (int)strcspn(address, "#"), address);
}

/* The certificate of a relay that is connected. */
static int ask_cert(struct relays *r, const struct mailaddr *relay, uint64_t deadline_ms,
		    struct buf *ret, struct why *why)
{
	struct asking *a = &r->asking;
	int e = 0;

	mutex_lock(&r->lock);
	if (a->state != ASKING_NOBODY) {
		mutex_unlock(&r->lock);
		return why_set(why, -EBUSY, "another command is asking a relay: try again");
	}
	a->state = ASKING_WANTED;
	memcpy(a->dh_pk, relay->dh_pk, sizeof(a->dh_pk));
	ws_wake(r->host.ws);
	while (a->state != ASKING_ENDED && cond_wait_until(&r->news, &r->lock, deadline_ms))
		;
	if (a->state != ASKING_ENDED)
		e = why_set(why, -ETIMEDOUT, "the relay does not answer: try again");
	else if (a->cert.len == 0)
		e = why_set(why, -ENOTCONN, "the relay cannot be asked who it is: %s", a->error);
	else
		buf_slice_append(ret, buf_slice(&a->cert));
	a->state = ASKING_NOBODY;
	mutex_unlock(&r->lock);
	return e;
}

int relays_grant(struct relays *r, const char *address, const struct grant_info *list, size_t count,
		 uint64_t deadline_ms, struct why *why)
{
	AUTO(buf_fini) struct buf cert = {0};
	struct mailaddr relay;
	int e = find_known(r, address, &relay, why);

	if (e == 0)
		e = db_may_admit(r->host.db, MEMBER_RELAY, why);
	if (e == 0)
		e = ask_cert(r, &relay, deadline_ms, &cert, why);
	wipe(&relay, sizeof(relay));
	if (e < 0)
		return e;
	e = db_grant(r->host.db, buf_slice(&cert), list, count);
	return e < 0 ? why_set(why, e, "cannot grant it: %s", strerror(-e)) : 0;
}

int relays_revoke(struct relays *r, const char *address, struct why *why)
{
	struct member_info m;
	struct mailaddr relay;
	int e = find_known(r, address, &relay, why);

	if (e < 0)
		return e;
	e = db_member_by_key(r->host.db, relay.dh_pk, &m);
	wipe(&relay, sizeof(relay));
	if (e < 0 || m.removed || m.role != MEMBER_RELAY)
		return why_set(why, -ENOENT, "nothing is granted to this relay");
	return db_remove_member(r->host.db, m.device.actor, why);
}

int relays_wait_copy(struct relays *r, const char *address, bool wanted, uint64_t deadline_ms,
		     struct relay_info *ret)
{
	struct mailaddr relay;
	char shown[MAILADDR_TEXT_BYTES];
	bool waits = true;
	int e = find_known(r, address, &relay, NULL);

	if (e < 0)
		return e;
	mailaddr_show(&relay, shown);
	wipe(&relay, sizeof(relay));
	mutex_lock(&r->lock);
	for (e = -ETIMEDOUT; e < 0 && waits;) {
		for (size_t i = 0; i < r->info_count; i++) {
			const struct relay_info *info = &r->infos[i];

			if (strcmp(info->address, shown) != 0)
				continue;
			*ret = *info;
			if (wanted ? info->copied : info->state == RELAY_OPEN && !info->reads)
				e = 0;
		}
		waits = e < 0 && cond_wait_until(&r->news, &r->lock, deadline_ms);
	}
	mutex_unlock(&r->lock);
	return e;
}

/* ---- what is known ------------------------------------------------------------------------------- */

static enum peer_state peer_state_of(const struct relay_info *info)
{
	if (info->state == RELAY_OPEN)
		return info->idle ? PEER_SYNCED : PEER_SYNCING;
	/* While we try again and again, "connecting" would only flicker. */
	return info->state == RELAY_AWAY || info->error[0] ? PEER_OFFLINE : PEER_CONNECTING;
}

static struct relay_status summary(const struct relay_info *info)
{
	struct relay_status s = {
		.state = peer_state_of(info),
		.path = PATH_RELAY,
		.used = info->used,
		.in_doubt = info->in_doubt,
		.rtt_us = info->rtt_us,
	};

	(void)snprintf(s.address, sizeof(s.address), "%.255s", info->address);
	(void)snprintf(s.error, sizeof(s.error), "%s", info->error);
	(void)snprintf(s.alarm, sizeof(s.alarm), "%s", info->alarm);
	return s;
}

static void publish(void *ctx, struct relay *relay)
{
	struct relays *r = ctx;
	struct relay_info info;

	relay_info(relay, &info);
	mutex_lock(&r->lock);
	for (size_t i = 0; i < r->info_count; i++) {
		if (strcmp(r->infos[i].address, info.address) == 0)
			r->infos[i] = info;
	}
	cond_broadcast(&r->news);
	mutex_unlock(&r->lock);
	struct relay_status s = summary(&info);
	status_set_relay(r->status, &s);
}

static void publish_all(struct relays *r)
{
	mutex_lock(&r->lock);
	r->infos = xreallocarray(r->infos, r->count, sizeof(*r->infos));
	r->info_count = r->count;
	for (size_t i = 0; i < r->count; i++)
		relay_info(r->items[i], &r->infos[i]);
	mutex_unlock(&r->lock);
	status_clear_relays(r->status, PATH_RELAY);
	for (size_t i = 0; i < r->count; i++)
		publish(r, r->items[i]);
}

size_t relays_list(struct relays *r, struct relay_info **ret)
{
	mutex_lock(&r->lock);
	size_t n = r->info_count;
	*ret = xmemdup(r->infos, n * sizeof(**ret));
	mutex_unlock(&r->lock);
	return n;
}

size_t relays_wanted(struct relays *r)
{
	struct mailaddr wanted[RELAYS_MAX];
	size_t n = read_setting(r->host.db, wanted);

	wipe(wanted, sizeof(wanted));
	return n;
}

/* ---- the relays ---------------------------------------------------------------------------------- */

static void arm(struct relays *r, uint64_t at_ms)
{
	uint64_t now = monotonic_ms();

	if (at_ms == UINT64_MAX || (r->armed_ms && r->armed_ms <= at_ms))
		return;
	r->armed_ms = at_ms;
	ws_set_path_timer(r->host.ws, at_ms > now ? at_ms - now : 1);
}

static void hurry(void *ctx)
{
	arm(ctx, monotonic_ms() + HURRY_MS);
}

static void on_log(void *ctx, uint64_t actor, const struct mailbox_log *log)
{
	struct relays *r = ctx;

	(void)actor;
	for (size_t i = 0; i < r->count; i++)
		relay_compare(r->items[i], log);
}

static size_t list_logs(void *ctx, struct mailbox_log *ret, size_t max)
{
	struct relays *r = ctx;
	size_t n = 0;

	for (size_t i = 0; i < r->count && n < max; i++)
		n += relay_log(r->items[i], &ret[n]);
	return n;
}

static void on_certified(void *ctx, struct relay *relay, struct slice cert, const char *error)
{
	struct relays *r = ctx;
	struct asking *a = &r->asking;

	mutex_lock(&r->lock);
	if (a->state == ASKING_SENT &&
	    memcmp(a->dh_pk, relay_address(relay)->dh_pk, sizeof(a->dh_pk)) == 0) {
		buf_clear(&a->cert);
		buf_slice_append(&a->cert, cert);
		(void)snprintf(a->error, sizeof(a->error), "%s", error);
		a->state = ASKING_ENDED;
		cond_broadcast(&r->news);
	}
	mutex_unlock(&r->lock);
}

void relays_woken(struct relays *r)
{
	struct asking *a = &r->asking;
	struct relay *found = NULL;

	mutex_lock(&r->lock);
	for (size_t i = 0; a->state == ASKING_WANTED && i < r->count; i++) {
		struct relay_info info;

		relay_info(r->items[i], &info);
		if (memcmp(relay_address(r->items[i])->dh_pk, a->dh_pk, sizeof(a->dh_pk)) == 0 &&
		    info.state == RELAY_OPEN)
			found = r->items[i];
	}
	if (a->state == ASKING_WANTED) {
		a->state = found ? ASKING_SENT : ASKING_ENDED;
		buf_clear(&a->cert);
		(void)snprintf(a->error, sizeof(a->error), "it is not connected");
		cond_broadcast(&r->news);
	}
	mutex_unlock(&r->lock);
	if (found)
		relay_ask_cert(found);
}

/* Tests do not wait for half a minute. */
static uint64_t read_ms(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);
	unsigned long ms = text ? strtoul(text, NULL, 10) : 0;

	return ms > 0 ? ms : otherwise;
}

struct relays *relays_create(struct db *db, const struct keys *keys, struct ws *ws,
			     struct status *status, const struct rendezvous_host *rendezvous)
{
	struct relays *r = xcalloc(1, sizeof(*r));

	r->host = (struct relay_host){
		.db = db,
		.keys = keys,
		.ws = ws,
		.rendezvous = rendezvous,
		.patience_ms = read_ms("BLAZE_RELAY_PATIENCE_MS", LEDGER_PATIENCE_MS),
		.on_log = on_log,
		.logs = list_logs,
		.published = publish,
		.certified = on_certified,
		.hurry = hurry,
		.ctx = r,
	};
	r->status = status;
	r->return_ms = read_ms("BLAZE_RELAY_RETURN_MS", RANKING_RETURN_MS);
	mutex_init(&r->lock);
	cond_init(&r->news);
	return r;
}

void relays_destroy(struct relays *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		relay_destroy(r->items[i]);
	free(r->items);
	free(r->infos);
	buf_fini(&r->asking.cert);
	cond_fini(&r->news);
	mutex_fini(&r->lock);
	free(r);
}

static bool is_wanted(const struct relay *relay, const struct mailaddr *wanted, size_t count)
{
	const struct mailaddr *a = relay_address(relay);

	for (size_t i = 0; i < count; i++) {
		if (is_same(a, &wanted[i]) && mailaddr_is_same_way(a, &wanted[i]))
			return true;
	}
	return false;
}

/* The index of a relay with this key, or the count. */
static size_t find(const struct relays *r, const struct mailaddr *a)
{
	size_t i = 0;

	while (i < r->count && !is_same(relay_address(r->items[i]), a))
		i++;
	return i;
}

/* In the order of the setting: it is the same on all devices, and they come to use the same relay. */
static void sort(struct relays *r, const struct mailaddr *wanted, size_t count)
{
	size_t sorted = 0;

	for (size_t i = 0; i < count; i++) {
		size_t at = find(r, &wanted[i]);

		if (at >= r->count || at < sorted)
			continue;
		struct relay *relay = r->items[at];
		memmove(r->items + sorted + 1, r->items + sorted,
			(at - sorted) * sizeof(struct relay *));
		r->items[sorted++] = relay;
	}
}

void relays_refresh(struct relays *r)
{
	struct mailaddr wanted[RELAYS_MAX];
	size_t n = read_setting(r->host.db, wanted);

	for (size_t i = 0; i < r->count; i++) {
		if (!is_wanted(r->items[i], wanted, n))
			relay_path.stop(r->items[i]);
	}
	for (size_t i = 0; i < n && !r->stopping; i++) {
		if (find(r, &wanted[i]) < r->count)
			continue;
		r->items = xreallocarray(r->items, r->count + 1, sizeof(struct relay *));
		r->items[r->count++] = relay_create(&r->host, &wanted[i]);
	}
	sort(r, wanted, n);
	wipe(wanted, sizeof(wanted));
	publish_all(r);
	relays_tick(r);
}

/* Those that were removed, and have said goodbye. */
static bool drop_gone(struct relays *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		if (!relay_is_gone(r->items[i])) {
			r->items[kept++] = r->items[i];
			continue;
		}
		if (r->items[i] == r->used)
			r->used = NULL;
		relay_destroy(r->items[i]);
	}
	bool dropped = kept < r->count;
	r->count = kept;
	return dropped;
}

void relays_changed(struct relays *r)
{
	for (size_t i = 0; i < r->count; i++)
		relay_path.changed(r->items[i]);
	if (r->count > 0)
		hurry(r);
	else
		arm(r, monotonic_ms() + LOOK_MS);
}

/* Whether the setting is another than the relays that there are: another device may have changed it. */
static bool is_stale(struct relays *r)
{
	uint64_t generation = db_generation(r->host.db);

	if (r->stale_checked == generation)
		return false;
	r->stale_checked = generation;
	struct mailaddr wanted[RELAYS_MAX];
	size_t n = read_setting(r->host.db, wanted);
	size_t found = 0;

	for (size_t i = 0; i < r->count; i++)
		found += is_wanted(r->items[i], wanted, n);
	wipe(wanted, sizeof(wanted));
	return found != r->count || found != n;
}

/* FAILOVER: which one is used from now on. Returns when to ask again. */
static uint64_t choose(struct relays *r, uint64_t now)
{
	struct rank *ranks[2 * RELAYS_MAX] = {0};
	char shown[MAILADDR_TEXT_BYTES];
	size_t count = r->count < countof(ranks) ? r->count : countof(ranks);
	size_t used = RANKING_NONE;

	for (size_t i = 0; i < count; i++) {
		ranks[i] = relay_rank(r->items[i]);
		used = r->items[i] == r->used ? i : used;
	}
	size_t best = ranking_choose(ranks, count, used, r->return_ms, now);
	if (best != used && best != RANKING_NONE && count > 1) {
		mailaddr_show(relay_address(r->items[best]), shown);
		log_info("relay %s is used from now on", shown);
	}
	r->used = best == RANKING_NONE ? NULL : r->items[best];
	for (size_t i = 0; best != used && i < r->count; i++) {
		relay_use(r->items[i], i == best);
		publish(r, r->items[i]);
	}
	return ranking_due(ranks, count, best, r->return_ms);
}

void relays_tick(struct relays *r)
{
	uint64_t now = monotonic_ms();
	uint64_t next = UINT64_MAX;

	r->armed_ms = 0;
	if (!r->stopping && (drop_gone(r) || is_stale(r))) {
		relays_refresh(r);
		return;
	}
	for (size_t i = 0; i < r->count; i++) {
		uint64_t at = relay_path.tick(r->items[i], now);

		next = at < next ? at : next;
		publish(r, r->items[i]);
	}
	uint64_t at = choose(r, now);
	arm(r, at < next ? at : next);
}

void relays_stop(struct relays *r)
{
	r->stopping = true;
	for (size_t i = 0; i < r->count; i++)
		relay_path.stop(r->items[i]);
}

size_t relays_count(const struct relays *r)
{
	return r->count;
}

bool relays_are_gone(const struct relays *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (!relay_is_gone(r->items[i]))
			return false;
	}
	return true;
}
