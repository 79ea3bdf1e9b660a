/* Members, their connections, and when to dial. */
#include "net/peer.h"

#include "core/log.h"
#include "core/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct peer {
	struct device device;
	struct conn *conn;    /* the one that is used: the best that is up */
	size_t dial_count;    /* how many that we dialled are not up yet */
	struct routes routes; /* of this attempt */
	size_t route;	      /* the next one to try */
	uint64_t next_route_ms;
	uint32_t attempt;
	uint64_t away_since_ms;
	uint64_t next_dial_ms; /* the next attempt, once this one has come to nothing */
	bool lookup_wanted;    /* its address was not known at the last attempt */
	uint64_t up_since_ms;
	bool removed;	     /* not a member any more */
	bool visiting;	     /* this device was removed itself, and only comes by */
	uint64_t leave_ms;   /* when it is hung up on; 0 = it was, or is a member */
	uint64_t visit_ms;   /* when it is, whatever it says */
	uint64_t visit_down; /* what it had said when that was looked at last */
	uint64_t settle_ms;  /* when to keep only the best; 0 = there is one at most */
	uint64_t up_past;    /* bytes of connections that are gone */
	uint64_t down_past;
	char endpoint[ENDPOINT_TEXT_BYTES]; /* where it was dialled last */
	char error[128];
};

/* A connection in the list, and its rank: the higher, the later it was greeted; 0 = not yet. */
struct entry {
	struct conn *conn;
	uint64_t rank;
	bool dialled; /* counted in dial_count */
};

struct peers {
	struct peers_options options;
	struct conn_host host;
	struct peer **members;
	size_t member_count;
	struct entry *entries;
	size_t entry_count;
	uint64_t last_rank;
	struct topology topology;
	uint64_t timer_ms; /* when peers_tick() will be called; UINT64_MAX = not */
	uint64_t refreshed_ms;
	bool refresh_wanted;
	bool outside; /* this device was removed itself */
	bool stopping;
};

static uint64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- status --------------------------------------------------------------------------------- */

static enum peer_state state_of(const struct peer *m)
{
	struct sync_info info;

	if (m->visiting)
		return PEER_OFFLINE;
	if (m->conn) {
		conn_info(m->conn, &info);
		return info.hello && info.in_sync ? PEER_SYNCED : PEER_SYNCING;
	}
	/* While we try again and again, "connecting" would only flicker. */
	bool trying = m->dial_count > 0 && !m->error[0];
	return trying ? PEER_CONNECTING : PEER_OFFLINE;
}

static enum peer_path path_of(const struct peer *m)
{
	if (!m->conn)
		return PATH_NONE;
	return endpoint_is_local(conn_remote(m->conn)) ? PATH_LOCAL : PATH_DIRECT;
}

static void edit_status(struct peer_status *s, void *ctx)
{
	const struct peer *m = ctx;
	uint64_t up = 0;
	uint64_t down = 0;

	(void)snprintf(s->name, sizeof(s->name), "%s", m->device.name);
	device_label(&m->device, s->label);
	s->state = state_of(m);
	s->path = path_of(m);
	(void)snprintf(s->last_error, sizeof(s->last_error), "%s", m->error);
	if (!m->conn && m->endpoint[0])
		(void)snprintf(s->endpoint, sizeof(s->endpoint), "%s", m->endpoint);
	if (m->conn) {
		struct sync_info info;

		conn_info(m->conn, &info);
		conn_traffic(m->conn, &up, &down);
		endpoint_format(conn_remote(m->conn), s->endpoint);
		s->rtt_us = conn_rtt_us(m->conn);
		s->clock_skew_ms = info.clock_skew_ms;
		if (info.hello)
			s->last_seen_ms = wall_ms();
	}
	s->up_bytes = m->up_past + up;
	s->down_bytes = m->down_past + down;
}

static void publish(struct peers *p, struct peer *m)
{
	if (m->removed)
		return;
	status_edit(p->options.status, m->device.actor, edit_status, m);
}

/* ---- members -------------------------------------------------------------------------------- */

static struct peer *find_member(const struct peers *p, const uint8_t id[DIGEST_BYTES])
{
	for (size_t i = 0; i < p->member_count; i++) {
		if (memcmp(p->members[i]->device.id, id, DIGEST_BYTES) == 0)
			return p->members[i];
	}
	return NULL;
}

static struct peer *add_member(struct peers *p, const struct device *d)
{
	struct peer *m = xcalloc(1, sizeof(*m));

	m->device = *d;
	m->away_since_ms = monotonic_ms();
	p->members = xreallocarray(p->members, p->member_count + 1, sizeof(struct peer *));
	p->members[p->member_count++] = m;
	return m;
}

static void hang_up(struct peers *p, const struct peer *m)
{
	for (size_t i = 0; i < p->entry_count; i++) {
		if (conn_owner(p->entries[i].conn) == m)
			conn_bye(p->entries[i].conn, CHANNEL_BYE_DONE);
	}
}

/* Begins, or goes on while it says something. */
static void begin_visit(struct peer *m, uint64_t now)
{
	m->leave_ms = now + PEER_LEAVE_MS;
	m->visit_ms = now + PEER_VISIT_MS;
	m->visit_down = 0;
}

/* A member that was removed is not dialled any more, and heard in a VISIT only. */
static void note_removed(struct peer *m, const struct device *devices, size_t count)
{
	bool was_removed = m->removed;

	m->removed = true;
	for (size_t i = 0; i < count; i++)
		m->removed = m->removed && memcmp(devices[i].id, m->device.id, DIGEST_BYTES) != 0;
	if (!m->removed)
		m->leave_ms = 0;
	if (!m->removed || was_removed)
		return;
	log_warn("%s was removed: it is not talked to any more, but to hear what it made before",
		 m->device.name);
	begin_visit(m, monotonic_ms());
}

/* Whether the topology has us dial it. */
static bool is_wanted(const struct peers *p, const struct peer *m)
{
	/* Relays have thrown out who was removed: whatever the topology, it comes by itself. */
	if (p->outside)
		return true;
	return topology_dials(&p->topology, keys_device(p->options.keys)->actor, m->device.actor);
}

/* Those that were removed: they may come by. */
static void add_removed(struct peers *p)
{
	AUTO(free_ptr) struct member_info *list = NULL;
	size_t count = db_members(p->options.db, &list);

	for (size_t i = 0; i < count; i++) {
		if (list[i].removed && !list[i].own && !find_member(p, list[i].device.id))
			add_member(p, &list[i].device)->removed = true;
	}
}

/* The topology changed: ends what we dialled and would not dial now. What others dialled is theirs to end. */
static void drop_unwanted(struct peers *p)
{
	for (size_t i = 0; i < p->entry_count; i++) {
		struct conn *c = p->entries[i].conn;
		const struct peer *m = conn_owner(c);

		if (m && !conn_is_incoming(c) && !is_wanted(p, m))
			conn_bye(c, CHANNEL_BYE_DONE);
	}
}

void peers_refresh(struct peers *p)
{
	AUTO(free_ptr) struct device *devices = NULL;
	size_t count = db_peers(p->options.db, &devices);

	p->refreshed_ms = monotonic_ms();
	p->refresh_wanted = false;
	for (size_t i = 0; i < count; i++) {
		if (!find_member(p, devices[i].id))
			publish(p, add_member(p, &devices[i]));
	}
	add_removed(p);
	p->outside = db_is_removed(p->options.db);
	for (size_t i = 0; i < p->member_count; i++)
		note_removed(p->members[i], devices, count);
	for (size_t i = 0; i < p->member_count; i++) {
		p->members[i]->visiting = p->outside;
		if (p->members[i]->lookup_wanted)
			p->members[i]->next_dial_ms = 0;
	}
	topology_read(p->options.db, &p->topology);
	drop_unwanted(p);
}

static struct peer *recognise_hint(const struct peers *p, const struct hello *h)
{
	const uint8_t *own = keys_device(p->options.keys)->dh_pk;
	struct id database = db_id(p->options.db);

	for (size_t i = 0; i < p->member_count; i++) {
		struct id hint = hello_hint(p->members[i]->device.dh_pk, own, &database, h->nonce);

		if (id_eq(&hint, &h->hint))
			return p->members[i];
	}
	return NULL;
}

static const struct device *recognise(void *ctx, const struct hello *h, void **ret_owner)
{
	struct peers *p = ctx;
	struct peer *m = recognise_hint(p, h);

	/*
	 * It may have been admitted a moment ago; but strangers must not make us read for each
	 * hello.
	 */
	if (!m && monotonic_ms() - p->refreshed_ms >= PEER_REFRESH_MS / 10) {
		peers_refresh(p);
		m = recognise_hint(p, h);
	}
	*ret_owner = m;
	return m ? &m->device : NULL;
}

/* ---- connections ---------------------------------------------------------------------------- */

static struct entry *find_entry(struct peers *p, const struct conn *c)
{
	for (size_t i = 0; i < p->entry_count; i++) {
		if (p->entries[i].conn == c)
			return &p->entries[i];
	}
	return NULL;
}

static struct entry *add_entry(struct peers *p, struct conn *c)
{
	p->entries = xreallocarray(p->entries, p->entry_count + 1, sizeof(*p->entries));
	p->entries[p->entry_count] = (struct entry){.conn = c};
	return &p->entries[p->entry_count++];
}

size_t peers_conn_count(const struct peers *p)
{
	return p->entry_count;
}

bool peers_know(struct peers *p, struct slice hello)
{
	return !p->stopping && conn_knows(&p->host, hello);
}

void *peers_accept(struct peers *p, struct lane *lane)
{
	if (p->stopping)
		return NULL;
	struct conn *c = conn_accept(&p->host, lane);
	(void)add_entry(p, c);
	peers_tick(p);
	return c;
}

uint64_t peer_retry_delay_ms(uint32_t attempt, uint64_t away_ms, uint32_t random)
{
	uint64_t delay = PEER_RETRY_MS_LATER;

	if (away_ms < PEER_RECENT_MS)
		delay = attempt >= 4 ? PEER_RETRY_MS_MAX : (uint64_t)PEER_RETRY_MS_MIN << attempt;
	delay = delay * (700 + random % 601) / 1000;
	return away_ms < PEER_RECENT_MS && delay > PEER_RETRY_MS_MAX ? PEER_RETRY_MS_MAX : delay;
}

static void schedule_dial(const struct peers *p, struct peer *m, uint64_t now)
{
	uint32_t random = 0;
	uint32_t doubled = m->attempt < 5 ? m->attempt : 5;
	uint64_t delay = (uint64_t)PEER_RETRY_MS_OUTSIDE << doubled;

	random_bytes(&random, sizeof(random));
	if (!p->outside)
		delay = peer_retry_delay_ms(m->attempt, now - m->away_since_ms, random);
	m->next_dial_ms = now + delay;
	m->attempt++;
}

/* DIAL: the next address of this attempt. */
static void dial(struct peers *p, struct peer *m, uint64_t now)
{
	const struct endpoint *e = &m->routes.at[m->route++];
	uint64_t deadline_ms = m->attempt % 4 == 3 ? PEER_DIAL_MS_SLOW : PEER_DIAL_MS;

	if (m->conn)
		conn_avoid(m->conn);
	m->dial_count++;
	m->next_route_ms = now + ROUTES_STAGGER_MS;
	endpoint_format(e, m->endpoint);
	add_entry(p, conn_dial(&p->host, e, deadline_ms, &m->device, m))->dialled = true;
	publish(p, m);
}

static void start_attempt(struct peers *p, struct peer *m, uint64_t now)
{
	routes_find(p->options.db, m->device.actor, p->options.nearby, &m->routes);
	m->route = 0;
	m->lookup_wanted = m->routes.count == 0;
	if (m->lookup_wanted)
		m->next_dial_ms = now + PEER_LOOKUP_MS;
}

static bool is_dialling(const struct peer *m)
{
	return m->dial_count > 0 || m->route < m->routes.count;
}

/* Gives up addresses that have not answered: there is a connection. */
static void stop_dialling(struct peers *p, struct peer *m)
{
	m->route = m->routes.count;
	for (size_t i = 0; i < p->entry_count; i++) {
		struct conn *c = p->entries[i].conn;

		if (conn_owner(c) == m && conn_state(c) == CONN_DIALLING)
			conn_bye(c, CHANNEL_BYE_DUPLICATE);
	}
}

/* One the peer has spoken on, then one that answers, then one that does not leave the machine, then the newer one. */
static bool is_better(const struct entry *a, const struct entry *b)
{
	bool a_local = endpoint_is_local(conn_remote(a->conn));
	bool b_local = endpoint_is_local(conn_remote(b->conn));

	bool a_doubtful = conn_is_in_doubt(a->conn);

	if ((a->rank > 0) != (b->rank > 0))
		return a->rank > 0;
	if (a_doubtful != conn_is_in_doubt(b->conn))
		return !a_doubtful;
	return a_local != b_local ? a_local : a->rank > b->rank;
}

/* The best connection of this member that is up, or NULL. */
static struct conn *find_best(const struct peers *p, const struct peer *m)
{
	const struct entry *best = NULL;

	for (size_t i = 0; i < p->entry_count; i++) {
		const struct entry *e = &p->entries[i];

		if (conn_owner(e->conn) == m && conn_state(e->conn) == CONN_SYNC &&
		    (!best || is_better(e, best)))
			best = e;
	}
	return best ? best->conn : NULL;
}

/* Of the connections that are up with this member, closes all but the best. */
static void keep_best(struct peers *p, struct peer *m)
{
	m->settle_ms = 0;
	for (size_t i = 0; i < p->entry_count; i++) {
		struct conn *c = p->entries[i].conn;

		if (conn_owner(c) == m && c != m->conn && conn_state(c) == CONN_SYNC)
			conn_bye(c, CHANNEL_BYE_DUPLICATE);
	}
}

static void use_best(struct peers *p, struct peer *m)
{
	struct conn *best = find_best(p, m);

	if (best && best != m->conn)
		m->up_since_ms = monotonic_ms();
	m->conn = best;
}

static void on_up(void *ctx, struct conn *c)
{
	struct peers *p = ctx;
	struct peer *m = conn_owner(c);
	struct entry *e = find_entry(p, c);

	if (e && e->dialled) {
		e->dialled = false;
		m->dial_count--;
	}
	if (!m->conn)
		use_best(p, m);
	if (m->removed && m->leave_ms == 0)
		begin_visit(m, monotonic_ms());
	publish(p, m);
}

static void remember_endpoint(struct peers *p, const struct peer *m, const struct conn *c)
{
	struct sync_info info;
	char told[ENDPOINT_TEXT_BYTES];
	char known[ENDPOINT_TEXT_BYTES] = "";

	/* An address that just worked is better than one told: there may be a router in between. */
	if (!conn_is_incoming(c) || m->removed)
		return;
	conn_info(c, &info);
	if (!info.endpoint[0] || !endpoint_resolve_told(info.endpoint, conn_remote(c), told))
		return;
	db_peer_endpoint(p->options.db, m->device.actor, known);
	if (strcmp(told, known) == 0)
		return;
	int r = db_set_peer_endpoint(p->options.db, m->device.actor, told);
	if (r < 0)
		log_warn("cannot remember an address: %s, ignoring", strerror(-r));
}

static void on_greeted(void *ctx, struct conn *c)
{
	struct peers *p = ctx;
	struct peer *m = conn_owner(c);
	struct entry *e = find_entry(p, c);
	const uint8_t *own = keys_device(p->options.keys)->id;

	remember_endpoint(p, m, c);
	if (e)
		e->rank = ++p->last_rank;
	bool another = m->conn && m->conn != c;
	use_best(p, m);
	m->error[0] = 0;
	stop_dialling(p, m);
	if (another && memcmp(own, m->device.id, DIGEST_BYTES) < 0)
		keep_best(p, m);
	else if (another)
		m->settle_ms = monotonic_ms() + PEER_SETTLE_MS;
	publish(p, m);
	peers_tick(p);
}

/* Has peers_tick() called at that time, if it would not be before. */
static void set_timer(struct peers *p, uint64_t at_ms)
{
	uint64_t now = monotonic_ms();

	if (at_ms >= p->timer_ms)
		return;
	p->timer_ms = at_ms;
	ws_set_timer(p->options.ws, at_ms > now ? at_ms - now : 1);
}

static void on_progress(void *ctx, struct conn *c)
{
	struct peers *p = ctx;
	struct peer *m = conn_owner(c);

	if (m && m->conn == c)
		publish(p, m);
	set_timer(p, conn_due(c));
}

static void on_ponged(void *ctx, struct conn *c)
{
	struct peers *p = ctx;
	const struct peer *m = conn_owner(c);

	if (m->conn == c)
		p->options.ponged(p->options.ctx, m->device.actor, conn_rtt_us(c));
}

int peers_ping(struct peers *p, uint64_t actor)
{
	for (size_t i = 0; i < p->member_count; i++) {
		struct peer *m = p->members[i];

		if (m->device.actor != actor || !m->conn || conn_state(m->conn) != CONN_SYNC)
			continue;
		conn_ping(m->conn);
		return 0;
	}
	return -ENOTCONN;
}

void peers_look(struct peers *p, uint64_t actor)
{
	peers_refresh(p);
	for (size_t i = 0; i < p->member_count; i++) {
		struct peer *m = p->members[i];

		if (m->device.actor == actor && !m->conn)
			m->next_dial_ms = 0;
	}
	peers_tick(p);
}

static void on_admitted(void *ctx, const struct device *d, const char *endpoint)
{
	struct peers *p = ctx;

	peers_refresh(p);
	if (endpoint[0] && db_set_peer_endpoint(p->options.db, d->actor, endpoint) < 0)
		log_warn("cannot remember an address, ignoring");
}

/* LIVENESS: another way is looked for while the one there is is in doubt. */
static bool needs_conn(const struct peer *m)
{
	return !m->removed && (!m->conn || conn_is_in_doubt(m->conn));
}

static void member_lost(struct peers *p, struct peer *m, struct conn *c, bool was_dial,
			const char *error)
{
	uint64_t now = monotonic_ms();
	uint64_t up = 0;
	uint64_t down = 0;
	bool was_used = m->conn == c;

	conn_traffic(c, &up, &down);
	m->up_past += up;
	m->down_past += down;
	m->dial_count -= was_dial;
	if (was_used) {
		use_best(p, m);
		p->options.ponged(p->options.ctx, m->device.actor, -1);
	}
	if (needs_conn(m) && (was_used || was_dial)) {
		(void)snprintf(m->error, sizeof(m->error), "%s", error);
		/*
		 * Starting over at once would spin with a peer that greets and fails, again and
		 * again.
		 */
		if (was_used && !p->outside &&
		    (!error[0] || now - m->up_since_ms >= PEER_STEADY_MS)) {
			m->attempt = 0;
			m->away_since_ms = now;
		}
		if (!is_dialling(m))
			schedule_dial(p, m, now);
	}
	publish(p, m);
}

static void on_gone(void *ctx, struct conn *c, const char *error)
{
	struct peers *p = ctx;
	struct peer *m = conn_owner(c);
	struct entry *e = find_entry(p, c);

	bool was_dial = e && e->dialled;

	if (e)
		*e = p->entries[--p->entry_count];
	if (m)
		member_lost(p, m, c, was_dial, error);
	peers_tick(p);
}

/* ---- time ----------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t tick_member(struct peers *p, struct peer *m, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	if (m->settle_ms > 0 && now >= m->settle_ms)
		keep_best(p, m);
	if (m->settle_ms > 0)
		next = m->settle_ms;
	if (!needs_conn(m) || !is_wanted(p, m) || p->stopping) {
		if (is_dialling(m))
			stop_dialling(p, m);
		return next;
	}
	if (!is_dialling(m) && now >= m->next_dial_ms)
		start_attempt(p, m, now);
	if (m->route < m->routes.count && (m->dial_count == 0 || now >= m->next_route_ms))
		dial(p, m, now);
	if (m->route < m->routes.count)
		return sooner(next, m->next_route_ms);
	return m->dial_count > 0 ? next : sooner(next, m->next_dial_ms);
}

static uint64_t tick_visit(struct peers *p, struct peer *m, uint64_t now)
{
	uint64_t up = 0;
	uint64_t down = 0;

	if (m->leave_ms == 0)
		return UINT64_MAX;
	if (m->leave_ms > now)
		return m->leave_ms;
	if (m->conn)
		conn_traffic(m->conn, &up, &down);
	if (down != m->visit_down && now < m->visit_ms) {
		m->visit_down = down;
		m->leave_ms = now + PEER_LEAVE_MS;
		return m->leave_ms;
	}
	m->leave_ms = 0;
	hang_up(p, m);
	return UINT64_MAX;
}

void peers_tick(struct peers *p)
{
	uint64_t now = monotonic_ms();
	uint64_t next = UINT64_MAX;

	if (p->refresh_wanted && now - p->refreshed_ms >= PEER_REFRESH_MS)
		peers_refresh(p);
	if (p->refresh_wanted)
		next = p->refreshed_ms + PEER_REFRESH_MS;
	/* First the connections: they may come to be in doubt, which concerns the members. */
	for (size_t i = 0; i < p->entry_count; i++)
		next = sooner(next, conn_tick(p->entries[i].conn, now));
	for (size_t i = 0; i < p->member_count; i++) {
		struct peer *m = p->members[i];

		next = sooner(next, tick_member(p, m, now));
		next = sooner(next, tick_visit(p, m, now));
	}
	if (p->stopping)
		next = sooner(next,
			      now + PEER_RETRY_MS_MIN); /* the owner looks whether it is time to end */
	p->timer_ms = UINT64_MAX;
	set_timer(p, next);
}

void peers_woken(struct peers *p)
{
	bool timer_set = p->refresh_wanted;

	for (size_t i = 0; i < p->entry_count; i++)
		conn_wake(p->entries[i].conn);
	p->refresh_wanted = true;
	if (!timer_set)
		peers_tick(p);
}

void peers_set_listen(struct peers *p, const char *endpoint)
{
	(void)snprintf(p->host.listen, sizeof(p->host.listen), "%s", endpoint);
}

void peers_stop(struct peers *p)
{
	p->stopping = true;
	for (size_t i = 0; i < p->entry_count; i++)
		conn_bye(p->entries[i].conn, CHANNEL_BYE_SHUTDOWN);
	peers_tick(p);
}

struct peers *peers_create(const struct peers_options *options)
{
	struct peers *p = xcalloc(1, sizeof(*p));

	p->options = *options;
	p->timer_ms = UINT64_MAX;
	p->host = (struct conn_host){
		.db = options->db,
		.keys = options->keys,
		.invites = options->invites,
		.carriage = options->carriage,
		.recognise = recognise,
		.up = on_up,
		.greeted = on_greeted,
		.progress = on_progress,
		.ponged = on_ponged,
		.admitted = on_admitted,
		.gone = on_gone,
		.ctx = p,
	};
	return p;
}

void peers_destroy(struct peers *p)
{
	if (!p)
		return;
	assert(p->entry_count == 0);
	for (size_t i = 0; i < p->member_count; i++)
		free(p->members[i]);
	free(p->members);
	free(p->entries);
	free(p);
}
