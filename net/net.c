/* The network thread: starts, is woken, stops; and the functions other threads call. */
#include "net/net.h"

#include "core/contact.h"
#include "core/log.h"
#include "core/thread.h"
#include "net/carriage.h"
#include "net/code.h"
#include "net/find.h"
#include "net/folders.h"
#include "net/invite.h"
#include "net/join.h"
#include "net/link.h"
#include "net/nearby.h"
#include "net/peer.h"
#include "net/relays.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/** How long net_stop() waits for BYEs to go out. */
#define NET_STOP_MS 500

/** How long net_listen() waits for the mount that listens for all of this home. */
#define NET_LISTEN_MS 5000
#define PINGS_MAX 8
/** How often the relays' answers to an invitation are looked at; and how many numbers are tried. */
#define NET_RELAYS_LOOK_MS 20
#define NAMEPLATE_TRIES 4
/** How often we look whether our addresses have changed. */
#define SAY_WHERE_MS 30000

struct ping {
	uint64_t actor; /* 0 = free */
	enum {
		PING_ASKED,
		PING_SENT,
		PING_ENDED
	} state;
	int result;
	int64_t rtt_us;
};

/* Somebody waits for net_listen(). */
struct listening {
	enum {
		LISTEN_FREE,
		LISTEN_ASKED,
		LISTEN_SENT,
		LISTEN_ENDED
	} state;
	char address[ENDPOINT_TEXT_BYTES];
	int result;
	struct why why;
};

struct net {
	struct net_options options;
	struct ws *ws;
	struct invites *invites;
	struct carriage *carriage;
	struct peers *peers;
	struct relays *relays;
	struct folders *folders; /* have their own threads */
	struct nearby *nearby;
	struct rendezvous_host rendezvous;
	_Atomic bool relays_stale; /* the list was changed: to be read again */
	struct db_observer observer;
	bool observing;
	struct thread thread;

	_Atomic bool alone;   /* no connection: nobody to tell, so nobody to wake */
	_Atomic bool changed; /* the database did; set by any thread, then ws_wake() */
	_Atomic bool stop;

	struct mutex lock;
	struct cond answered;
	struct ping pings[PINGS_MAX];	    /* protected by lock */
	struct listening listening;	    /* protected by lock */
	char endpoint[ENDPOINT_TEXT_BYTES]; /* protected by lock: where we listen; "" = nowhere */

	uint64_t said_ms; /* net thread, as all below: when we last looked where we are */
	bool stopping;
	uint64_t stop_ms;
};

static uint64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the thread ----------------------------------------------------------------------------- */

/* ENDPOINT: tells everybody where we are; interfaces come and go. */
static void say_where(struct net *n)
{
	char addresses[CONTACT_ADDRESSES_MAX][CONTACT_ADDRESS_BYTES] = {0};
	char text[ENDPOINT_TEXT_BYTES];
	struct endpoint e;
	size_t count = 0;

	static_assert(CONTACT_ADDRESS_BYTES == ENDPOINT_TEXT_BYTES, "an address fits");
	net_endpoint(n, text);
	if (text[0] && endpoint_parse(text, &e) == 0)
		count = endpoint_reachable(&e, addresses, CONTACT_ADDRESSES_MAX);
	nearby_say(n->nearby, addresses, count);
	int r = contact_set_own(n->options.db, addresses, count, wall_ms());
	if (r < 0)
		log_warn("cannot say where this device is: %s, ignoring", strerror(-r));
	n->said_ms = monotonic_ms();
}

/* Where we listen is known, or why we do not. Later on it may become known again: somewhere else. */
static void on_listening(void *ctx, int err, const char *text)
{
	struct net *n = ctx;
	char endpoint[ENDPOINT_TEXT_BYTES] = "";

	if (err == 0)
		(void)snprintf(endpoint, sizeof(endpoint), "%s", text);
	mutex_lock(&n->lock);
	bool is_new = strcmp(n->endpoint, endpoint) != 0;
	memcpy(n->endpoint, endpoint, sizeof(endpoint));
	if (n->listening.state == LISTEN_SENT) {
		n->listening.state = LISTEN_ENDED;
		n->listening.result = err;
		if (err < 0)
			(void)why_set(&n->listening.why, err, "%s", text);
	}
	cond_broadcast(&n->answered);
	mutex_unlock(&n->lock);
	if (!is_new)
		return;
	status_set_listen(n->options.status, endpoint);
	peers_set_listen(n->peers, endpoint);
	say_where(n);
	log_info("listening on %s", endpoint[0] ? endpoint : "nothing");
}

static void ask_to_listen(struct net *n)
{
	char address[ENDPOINT_TEXT_BYTES] = "";

	mutex_lock(&n->lock);
	if (n->listening.state == LISTEN_ASKED) {
		n->listening.state = LISTEN_SENT;
		memcpy(address, n->listening.address, sizeof(address));
	}
	mutex_unlock(&n->lock);
	if (address[0])
		carriage_listen(n->carriage, address);
}

static void end_pings(struct net *n, uint64_t actor, int result, int64_t rtt_us)
{
	mutex_lock(&n->lock);
	for (size_t i = 0; i < PINGS_MAX; i++) {
		struct ping *p = &n->pings[i];

		if (p->actor != actor || p->state != PING_SENT)
			continue;
		p->state = PING_ENDED;
		p->result = result;
		p->rtt_us = rtt_us;
	}
	cond_broadcast(&n->answered);
	mutex_unlock(&n->lock);
}

static void on_ponged(void *ctx, uint64_t actor, int64_t rtt_us)
{
	end_pings(ctx, actor, rtt_us < 0 ? -ENOTCONN : 0, rtt_us);
}

static void send_pings(struct net *n)
{
	uint64_t actors[PINGS_MAX];
	size_t count = 0;

	mutex_lock(&n->lock);
	for (size_t i = 0; i < PINGS_MAX; i++) {
		struct ping *p = &n->pings[i];

		if (p->actor == 0 || p->state != PING_ASKED)
			continue;
		p->state = PING_SENT;
		actors[count++] = p->actor;
	}
	mutex_unlock(&n->lock);
	for (size_t i = 0; i < count; i++) {
		int r = peers_ping(n->peers, actors[i]);

		if (r < 0)
			end_pings(n, actors[i], r, -1);
	}
}

/* The database changed. */
static void look(struct net *n)
{
	peers_woken(n->peers);
	relays_changed(n->relays);
}

static void on_path_timer(void *ctx)
{
	struct net *n = ctx;

	relays_tick(n->relays);
	if (n->stopping)
		ws_wake(n->ws);
}

static bool is_alone(struct net *n)
{
	return peers_conn_count(n->peers) == 0 && relays_count(n->relays) == 0;
}

static void on_woken(void *ctx)
{
	struct net *n = ctx;

	if (atomic_exchange(&n->changed, false))
		look(n);
	if (atomic_exchange(&n->relays_stale, false) && !n->stopping)
		relays_refresh(n->relays);
	relays_woken(n->relays);
	ask_to_listen(n);
	nearby_woken(n->nearby);
	send_pings(n);
	if (atomic_load(&n->stop) && !n->stopping) {
		n->stopping = true;
		n->stop_ms = monotonic_ms() + NET_STOP_MS;
		peers_stop(n->peers);
		relays_stop(n->relays);
	}
}

static void on_timer(void *ctx)
{
	struct net *n = ctx;

	peers_tick(n->peers);
	if (monotonic_ms() - n->said_ms >= SAY_WHERE_MS)
		say_where(n);
	if (n->stopping)
		ws_wake(n->ws);
}

static void on_lane_timer(void *ctx)
{
	const struct net *n = ctx;

	carriage_tick(n->carriage);
}

static void *on_accepted(void *ctx, struct ws_conn *c)
{
	const struct net *n = ctx;

	return carriage_accept(n->carriage, c);
}

static bool knows(void *ctx, struct slice hello)
{
	const struct net *n = ctx;

	return peers_know(n->peers, hello);
}

static void *on_lane(void *ctx, struct lane *l)
{
	const struct net *n = ctx;

	return peers_accept(n->peers, l);
}

static void *run(void *arg)
{
	struct net *n = arg;

	carriage_start(n->carriage);
	ask_to_listen(n);
	say_where(n);
	peers_refresh(n->peers);
	peers_tick(n->peers);
	relays_refresh(n->relays);
	for (;;) {
		bool gone = peers_conn_count(n->peers) == 0 && relays_are_gone(n->relays);
		if (n->stopping && (gone || monotonic_ms() >= n->stop_ms))
			break;
		/* In this order: a change that still saw us alone is found here, a later one wakes us. */
		atomic_store(&n->alone, is_alone(n));
		if (!atomic_load(&n->alone) && atomic_exchange(&n->changed, false))
			look(n);
		if (ws_service(n->ws) < 0) {
			log_err("the network thread cannot go on");
			break;
		}
	}
	return NULL;
}

static void wake(void *ctx)
{
	struct net *n = ctx;

	ws_wake(n->ws);
}

static void on_nearby(void *ctx, uint64_t actor)
{
	struct net *n = ctx;

	peers_look(n->peers, actor);
}

/* Any thread, without the database's lock. Many changes make one wake-up. */
static void db_changed(void *ctx)
{
	struct net *n = ctx;

	if (!atomic_exchange(&n->changed, true) && !atomic_load(&n->alone))
		ws_wake(n->ws);
}

/* ---- start and stop ------------------------------------------------------------------------- */

static void start_paths(struct net *n)
{
	const struct net_options *o = &n->options;

	n->rendezvous = (struct rendezvous_host){
		.invites = n->invites,
		.accepted = on_lane,
		.handler = &conn_lane_handler,
		.ctx = n,
	};
	n->relays = relays_create(o->db, o->keys, n->ws, o->status, &n->rendezvous);
	n->folders = folders_start(o->db, o->keys, o->status);
}

int net_start(const struct net_options *options, struct net **ret, struct why *why)
{
	struct net *n = xcalloc(1, sizeof(*n));
	const struct ws_handler handler = {
		.accepted = on_accepted,
		.woken = on_woken,
		.timer = on_timer,
		.path_timer = on_path_timer,
		.lane_timer = on_lane_timer,
		.ctx = n,
	};

	digest_init();
	n->options = *options;
	n->options.listen = NULL; /* borrowed for this call only */
	n->options.home = NULL;
	mutex_init(&n->lock);
	cond_init(&n->answered);
	n->invites = invites_create(options->db);
	n->ws = ws_create(&handler, NULL);
	if (!n->ws) {
		net_stop(n);
		return why_set(why, -EIO, "cannot use the network: too many open files?");
	}
	const struct nearby_options nearby_options = {
		.db = options->db,
		.keys = options->keys,
		.wake = wake,
		.found = on_nearby,
		.ctx = n,
	};
	n->nearby = nearby_create(&nearby_options);
	const struct carriage_options carriage_options = {
		.home = options->home,
		.ws = n->ws,
		.own = keys_device(options->keys),
		.knows = knows,
		.accepted = on_lane,
		.handler = &conn_lane_handler,
		.listening = on_listening,
		.ctx = n,
	};
	n->carriage = carriage_create(&carriage_options);
	const struct peers_options peers_options = {
		.nearby = n->nearby,
		.db = options->db,
		.keys = options->keys,
		.status = options->status,
		.invites = n->invites,
		.ws = n->ws,
		.carriage = n->carriage,
		.ponged = on_ponged,
		.ctx = n,
	};
	n->peers = peers_create(&peers_options);
	start_paths(n);
	thread_start(&n->thread, "blaze-net", run, n);
	n->observer = (struct db_observer){.changed = db_changed, .ctx = n};
	db_observe(options->db, &n->observer);
	n->observing = true;
	int r = options->listen ? net_listen(n, options->listen, why) : 0;
	if (r < 0) {
		net_stop(n);
		return r;
	}
	*ret = n;
	return 0;
}

void net_stop(struct net *n)
{
	if (!n)
		return;
	if (n->observing)
		db_unobserve(n->options.db, &n->observer);
	if (n->folders)
		folders_stop(n->folders);
	if (n->thread.running) {
		atomic_store(&n->stop, true);
		ws_wake(n->ws);
		thread_join(&n->thread);
	}
	nearby_stop(n->nearby);
	if (n->carriage) {
		peers_stop(n->peers); /* the thread may have ended by itself */
		carriage_stop(n->carriage);
	}
	ws_destroy(n->ws);
	carriage_destroy(n->carriage);
	peers_destroy(n->peers);
	relays_destroy(n->relays);
	folders_destroy(n->folders);
	invites_destroy(n->invites);
	nearby_destroy(n->nearby);
	status_set_listen(n->options.status, "");
	cond_fini(&n->answered);
	mutex_fini(&n->lock);
	free(n);
}

int net_listen(struct net *n, const char *address, struct why *why)
{
	uint64_t deadline_ms = monotonic_ms() + NET_LISTEN_MS;
	struct listening *l = &n->listening;

	if (strlen(address) >= sizeof(l->address))
		return why_set(why, -EINVAL, "no address to listen on: %.80s", address);
	mutex_lock(&n->lock);
	while (l->state != LISTEN_FREE && cond_wait_until(&n->answered, &n->lock, deadline_ms))
		;
	int r = 0;
	if (l->state != LISTEN_FREE) {
		r = why_set(why, -EBUSY, "cannot listen on %s now: try again", address);
	} else if (!n->endpoint[0]) {
		*l = (struct listening){.state = LISTEN_ASKED};
		(void)snprintf(l->address, sizeof(l->address), "%s", address);
		ws_wake(n->ws);
		while (l->state != LISTEN_ENDED &&
		       cond_wait_until(&n->answered, &n->lock, deadline_ms))
			;
		r = l->state == LISTEN_ENDED
			    ? l->result
			    : why_set(why, -ETIMEDOUT,
				      "cannot listen on %s: no answer of the mount that has this home's connections",
				      address);
		if (l->state == LISTEN_ENDED && r < 0 && why)
			*why = l->why;
		l->state = LISTEN_FREE;
		cond_broadcast(&n->answered);
	}
	mutex_unlock(&n->lock);
	return r;
}

void net_endpoint(struct net *n, char out[ENDPOINT_BYTES_MAX + 1])
{
	mutex_lock(&n->lock);
	memcpy(out, n->endpoint, sizeof(n->endpoint));
	mutex_unlock(&n->lock);
}

int net_ping(struct net *n, uint64_t actor, uint64_t deadline_ms, int64_t *ret_rtt_us)
{
	struct ping *p = NULL;

	mutex_lock(&n->lock);
	for (size_t i = 0; !p && i < PINGS_MAX; i++)
		p = n->pings[i].actor == 0 ? &n->pings[i] : NULL;
	if (!p) {
		mutex_unlock(&n->lock);
		return -EBUSY;
	}
	*p = (struct ping){.actor = actor, .state = PING_ASKED, .rtt_us = -1};
	ws_wake(n->ws);
	while (p->state != PING_ENDED && cond_wait_until(&n->answered, &n->lock, deadline_ms))
		;
	int r = p->state == PING_ENDED ? p->result : -ETIMEDOUT;
	*ret_rtt_us = p->rtt_us;
	p->actor = 0;
	mutex_unlock(&n->lock);
	return r;
}

/* ---- relays ---------------------------------------------------------------------------------- */

static int relays_were_changed(struct net *n, int r)
{
	if (r >= 0) {
		atomic_store(&n->relays_stale, true);
		net_refresh(n); /* a hub needs one */
	}
	return r;
}

int net_relay_add(struct net *n, const char *address, struct why *why)
{
	return relays_were_changed(n, relays_add(n->relays, address, why));
}

int net_relay_remove(struct net *n, const char *address, struct why *why)
{
	return relays_were_changed(n, relays_remove(n->relays, address, why));
}

int net_relay_grant(struct net *n, const char *address, const struct grant_info *list, size_t count,
		    uint64_t deadline_ms, struct why *why)
{
	int r = relays_grant(n->relays, address, list, count, deadline_ms, why);

	net_refresh(n);
	return r;
}

int net_relay_revoke(struct net *n, const char *address, struct why *why)
{
	int r = relays_revoke(n->relays, address, why);

	net_refresh(n);
	return r;
}

int net_relay_wait_copy(struct net *n, const char *address, bool wanted, uint64_t deadline_ms,
			struct relay_info *ret)
{
	return relays_wait_copy(n->relays, address, wanted, deadline_ms, ret);
}

size_t net_relay_list(struct net *n, struct relay_info **ret)
{
	return relays_list(n->relays, ret);
}

int net_folder_add(struct net *n, const char *path, struct why *why)
{
	int r = folders_add(n->folders, path, why);

	net_refresh(n); /* a hub needs one */
	return r;
}

int net_folder_remove(struct net *n, const char *path, struct why *why)
{
	int r = folders_remove(n->folders, path, why);

	net_refresh(n);
	return r;
}

size_t net_folder_list(struct net *n, struct folder_info **ret)
{
	return folders_list(n->folders, ret);
}

bool net_relays_have_all(struct net *n)
{
	AUTO(free_ptr) struct relay_info *infos = NULL;
	size_t count = relays_list(n->relays, &infos);
	uint64_t generation = db_generation(n->options.db);

	for (size_t i = 0; i < count; i++) {
		if (infos[i].state == RELAY_OPEN &&
		    (!infos[i].idle || infos[i].generation != generation))
			return false;
	}
	return true;
}

void net_refresh(struct net *n)
{
	atomic_store(&n->changed, true);
	ws_wake(n->ws);
}

/* ---- pairing -------------------------------------------------------------------------------- */

/* An invitation needs somebody who answers: on every address, IPv6 too where the machine has it. */
static int listen_anywhere(struct net *n, struct why *why)
{
	if (net_listen(n, "[::]:0", NULL) >= 0)
		return 0;
	return net_listen(n, "0.0.0.0:0", why);
}

/* Of several, the relay that is used is the best to name. Appends those that may know the invitation to the link. */
static void name_relays(const struct relay_info *infos, size_t count,
			const struct invite_place *places, size_t place_count, struct link *l,
			char ret[ENDPOINT_TEXT_BYTES])
{
	ret[0] = 0;
	for (size_t i = 0; i < count; i++) {
		struct endpoint e;
		bool tls = strncmp(infos[i].address, "wss", 3) == 0;
		const char *text = tls ? infos[i].address : infos[i].address + strlen("ws://");

		if (endpoint_parse_dialled(text, &e) < 0)
			continue;
		if (l->address_count < LINK_ADDRESSES_MAX) {
			l->is_relay[l->address_count] = true;
			endpoint_format(&e, l->addresses[l->address_count++]);
		}
		for (size_t k = 0; k < place_count; k++) {
			if (places[k].code == 0 && strcmp(places[k].relay, infos[i].address) == 0 &&
			    (!ret[0] || infos[i].used))
				code_write_relay(&e, ret);
		}
	}
}

/* RENDEZVOUS: hears what the relays say to it. -EADDRINUSE: another code has this nameplate. */
static int await_relays(struct net *n, uint64_t id, struct link *l, char ret[ENDPOINT_TEXT_BYTES])
{
	uint64_t deadline_ms = monotonic_ms() + NET_RELAYS_MS;
	size_t wanted = relays_wanted(n->relays);

	for (;;) {
		struct invite_place places[RELAYS_MAX];
		AUTO(free_ptr) struct relay_info *infos = NULL;
		char words[NET_WORDS_BYTES];
		struct device device;
		size_t count = relays_list(n->relays, &infos);
		size_t place_count = invites_places(n->invites, id, places, RELAYS_MAX);
		size_t away = 0;

		bool taken = false;

		for (size_t i = 0; i < place_count; i++)
			taken = taken || places[i].code == MAIL_ERROR_TAKEN;
		for (size_t i = 0; i < count; i++)
			away += infos[i].state != RELAY_OPEN && infos[i].error[0];
		uint64_t now = monotonic_ms();
		if (place_count + away >= wanted || now >= deadline_ms) {
			name_relays(infos, count, places, place_count, l, ret);
			return taken ? -EADDRINUSE : 0;
		}
		(void)invites_wait(n->invites, id, now + NET_RELAYS_LOOK_MS, &device, words);
	}
}

/* An invitation with a nameplate; the rest of the link is there. */
static int offer(struct net *n, const struct invite_options *options, struct link *l,
		 struct invite_text *ret, uint64_t *ret_id)
{
	struct invite_secrets secrets = {0};

	random_bytes(l->secret, sizeof(l->secret));
	memcpy(secrets.link, l->secret, sizeof(secrets.link));
	secrets.nameplate = find_publish(n->nearby, l->addresses, l->address_count,
					 relays_wanted(n->relays) > 0, &secrets.published);
	code_make(secrets.nameplate, ret->code, secrets.code);
	int r = invites_add(n->invites, options, &secrets, ret_id);
	if (r < 0)
		find_withdraw(secrets.published);
	wipe(&secrets, sizeof(secrets));
	if (r == 0)
		net_refresh(n);
	return r;
}

int net_invite(struct net *n, const struct invite_options *options, struct invite_text *ret,
	       uint64_t *ret_id, struct why *why)
{
	AUTO(link_fini) struct link l = {.expiry_s = (uint64_t)time(NULL) + options->ttl_ms / 1000};
	char text[ENDPOINT_TEXT_BYTES];
	struct endpoint e;

	static_assert(sizeof(ret->code) >= CODE_TEXT_BYTES, "room for a code");
	int r = db_may_admit(n->options.db, options->role, why);
	if (r == 0)
		r = listen_anywhere(n, why);
	if (r < 0)
		return r;
	memcpy(l.device, keys_device(n->options.keys)->id, sizeof(l.device));
	net_endpoint(n, text);
	r = endpoint_parse(text, &e);
	assert(r >= 0);
	size_t direct_count = endpoint_reachable(&e, l.addresses, LINK_ADDRESSES_MAX / 2);
	for (int i = 0; i < NAMEPLATE_TRIES; i++) {
		l.address_count = direct_count;
		r = offer(n, options, &l, ret, ret_id);
		if (r < 0)
			return why_set(why, r,
				       "%d invitations are waiting already; cancel one first",
				       INVITE_COUNT_MAX);
		/* A relay that says so every time is gone without. */
		if (await_relays(n, *ret_id, &l, ret->relay) == 0 || i == NAMEPLATE_TRIES - 1)
			break;
		net_invite_cancel(n, *ret_id);
	}
	link_encode(&l, &ret->link);
	return 0;
}

enum invite_state net_invite_wait(struct net *n, uint64_t id, uint64_t deadline_ms,
				  struct device *ret_device, char ret_words[NET_WORDS_BYTES])
{
	return invites_wait(n->invites, id, deadline_ms, ret_device, ret_words);
}

void net_invite_answer(struct net *n, uint64_t id, bool yes)
{
	invites_answer(n->invites, id, yes);
	net_refresh(n);
}

void net_invite_cancel(struct net *n, uint64_t id)
{
	invites_cancel(n->invites, id);
	net_refresh(n);
}

bool net_is_code(const char *text)
{
	return code_is_like(text);
}

int net_pair_join(const struct pair_target *target, const struct keys *keys,
		  const struct pair_confirm *confirm, struct pair_result *ret, struct why *why)
{
	digest_init();
	return join_run(target, keys, confirm, ret, why);
}
