/* Who has the connections of a home: this process, or another one. */
#include "net/carriage.h"

#include "net/carrier.h"
#include "net/local.h"
#include "net/rider.h"
#include "net/trunk.h"

#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_NAME "net.lock"
#define SOCKET_NAME "net.sock"
#define LISTENERS_MAX 16

enum role {
	ROLE_SEEKING,
	ROLE_RIDER,
	ROLE_CARRIER,
};

struct carriage {
	struct carriage_options options;
	char *home;
	enum role role;
	int lock_fd;		/* held by a carrier */
	int home_fd;		/* what socket.host may go through */
	struct endpoint socket; /* HOME/net.sock */
	struct endpoint local;	/* this device's Unix socket; "" = none */
	struct trunks *trunks;
	struct carrier *carrier;
	struct rider *rider;
	bool alone; /* has its own connections, and no riders */
	bool stopped;

	uint64_t seek_ms; /* when to look again */
	char *wanted;	  /* where to listen; NULL = nowhere */
	bool is_bound;	  /* it was done once: try again until it is */
	bool waits;	  /* for an answer */
	uint64_t requests;
	uint64_t listen_ms; /* when to try again; 0 = need not */
	struct endpoint listeners[LISTENERS_MAX];
	size_t listener_count;
	bool ticking;
	bool is_due;
};

static void due(void *ctx)
{
	struct carriage *c = ctx;

	c->is_due = true;
	if (!c->ticking)
		ws_set_lane_timer(c->options.ws, 0);
}

/* ---- listening ------------------------------------------------------------------------------ */

/* An address that is listened on already and does for this one, or NULL. */
static const struct endpoint *find_listener(const struct carriage *c, const struct endpoint *e)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct endpoint *l = &c->listeners[i];
		bool same_host = strcmp(l->host, e->host) == 0 || endpoint_is_any(l);

		if (same_host && (e->port == 0 || e->port == l->port))
			return l;
	}
	return NULL;
}

static int listen_here(void *ctx, const char *address, char ret_bound[ENDPOINT_TEXT_BYTES],
		       struct why *why)
{
	struct carriage *c = ctx;
	struct endpoint e;
	const struct endpoint *there =
		endpoint_parse(address, &e) == 0 ? find_listener(c, &e) : NULL;

	if (there) {
		endpoint_format(there, ret_bound);
		return 0;
	}
	if (c->listener_count == LISTENERS_MAX)
		return why_set(why, -ENOSPC, "this home listens on %d addresses already",
			       LISTENERS_MAX);
	int fd = endpoint_listen(address, &e, why);
	if (fd < 0)
		return fd;
	if (ws_listen(c->options.ws, fd) < 0)
		return why_set(why, -EIO, "cannot take connections on %s", address);
	c->listeners[c->listener_count++] = e;
	endpoint_format(&e, ret_bound);
	return 0;
}

static void listen_answered(struct carriage *c, int err, const char *text)
{
	c->waits = false;
	c->listen_ms = 0;
	if (err == 0) {
		free(c->wanted);
		c->wanted = xstrdup(text);
		c->is_bound = true;
	} else if (c->is_bound) {
		log_warn("%s: trying again", text);
		c->listen_ms = monotonic_ms() + CARRIAGE_LISTEN_MS;
		due(c);
		return;
	} else {
		free(STEAL(c->wanted));
	}
	c->options.listening(c->options.ctx, err, text);
}

/* Says or does what is wanted, once it is known who does it. */
static void ask_to_listen(struct carriage *c)
{
	char bound[ENDPOINT_TEXT_BYTES] = "";
	struct why why = {""};

	if (!c->wanted || c->role == ROLE_SEEKING)
		return;
	c->waits = true;
	c->listen_ms = 0;
	if (c->role == ROLE_RIDER) {
		rider_listen(c->rider, ++c->requests, c->wanted);
		return;
	}
	int r = listen_here(c, c->wanted, bound, &why);
	listen_answered(c, r, r < 0 ? why.text : bound);
}

void carriage_listen(struct carriage *c, const char *address)
{
	free(c->wanted);
	c->wanted = xstrdup(address);
	c->is_bound = false;
	ask_to_listen(c);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static bool knows(void *ctx, struct slice hello)
{
	struct carriage *c = ctx;

	return !c->stopped && c->options.knows(c->options.ctx, hello);
}

/* An incoming lane of a rider's. */
static void rider_accept(void *ctx, struct lane *l)
{
	struct carriage *c = ctx;

	l->handler = c->options.handler;
	l->user = c->options.accepted(c->options.ctx, l);
}

/* It is ours, or nobody's: then we say so. */
static void take(void *ctx, struct lane *l)
{
	struct carriage *c = ctx;
	void *user = c->stopped ? NULL : c->options.accepted(c->options.ctx, l);

	if (user) {
		trunks_take(l, c->options.handler, user);
		return;
	}
	l->handler = NULL;
	lane_close(l);
}

static void offered(void *ctx, struct lane *l, struct slice hello)
{
	struct carriage *c = ctx;

	if (knows(c, hello))
		take(c, l);
	else
		carrier_offer(c->carrier, l, hello);
}

struct lane *carriage_dial(struct carriage *c, const struct lane_target *target, void *user)
{
	return c->role == ROLE_CARRIER ? trunks_dial(c->trunks, target, c->options.handler, user)
				       : rider_dial(c->rider, target, c->options.handler, user);
}

void *carriage_accept(struct carriage *c, struct ws_conn *ws)
{
	if (c->stopped)
		return NULL;
	if (c->socket.host[0] && strcmp(ws_remote(ws)->host, c->socket.host) == 0)
		return carrier_accept(c->carrier, ws);
	return trunks_accept(c->trunks, ws);
}

/* ---- roles ---------------------------------------------------------------------------------- */

/* UNIX SOCKET: without it everything goes on over the network. */
static void listen_local(struct carriage *c)
{
	struct endpoint e;

	if (!local_endpoint(c->options.own->actor, &e))
		return;
	int fd = local_listen(&e);
	if (fd >= 0 && ws_listen(c->options.ws, fd) < 0)
		fd = -EIO;
	if (fd < 0)
		log_warn("no socket for this machine at %s: %s, ignoring", e.host, strerror(-fd));
	else
		c->local = e;
}

/* For the other mounts of this home; without it each has its own connections. */
static void listen_for_riders(struct carriage *c)
{
	int fd = local_listen(&c->socket);

	if (fd >= 0 && ws_listen(c->options.ws, fd) < 0)
		fd = -EIO;
	if (fd < 0)
		log_warn("other databases of this home cannot share connections: %s, ignoring",
			 strerror(-fd));
}

static void carry(struct carriage *c)
{
	c->role = ROLE_CARRIER;
	if (!c->alone) {
		log_info("carrying the connections of this home");
		listen_for_riders(c);
		listen_local(c);
	}
	rider_abandon(c->rider);
	ask_to_listen(c);
}

/* The lock: a descriptor; -EWOULDBLOCK = another mount has it. */
static int take_lock(const struct carriage *c)
{
	AUTO(free_ptr) char *path = xasprintf("%s/" LOCK_NAME, c->home);
	AUTO(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	int ret = fd;
	fd = -1;
	return ret;
}

static void seek(struct carriage *c)
{
	int fd = c->alone ? -ENOTSUP : take_lock(c);

	c->seek_ms = 0;
	if (fd == -EWOULDBLOCK) {
		c->role = ROLE_SEEKING;
		rider_connect(c->rider, &c->socket);
		return;
	}
	if (fd < 0 && !c->alone) {
		log_warn("databases of this home cannot share connections: %s/" LOCK_NAME
			 ": %s, ignoring",
			 c->home, strerror(-fd));
		c->alone = true;
	}
	c->lock_fd = fd;
	carry(c);
}

static void on_up(void *ctx)
{
	struct carriage *c = ctx;

	log_info("another mount of this home carries the connections");
	c->role = ROLE_RIDER;
	ask_to_listen(c);
}

static void on_down(void *ctx, int err)
{
	struct carriage *c = ctx;

	if (c->role == ROLE_RIDER)
		log_info("the mount that carried the connections is gone");
	c->role = ROLE_SEEKING;
	if (err == -EPROTONOSUPPORT) {
		log_err("the mount that carries the connections of this home is of another version: "
			"unmount it, then mount it again");
		c->alone = true;
	}
	c->seek_ms = monotonic_ms() + CARRIAGE_SEEK_MS;
	due(c);
}

static void on_listening(void *ctx, uint64_t request, int err, const char *text)
{
	struct carriage *c = ctx;

	if (c->waits && request == c->requests)
		listen_answered(c, err, text);
}

/* ---- time ----------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void carriage_tick(struct carriage *c)
{
	uint64_t now = monotonic_ms();
	uint64_t next = UINT64_MAX;

	c->ticking = true;
	c->is_due = false;
	if (c->seek_ms > 0 && now >= c->seek_ms && !c->stopped)
		seek(c);
	if (c->listen_ms > 0 && now >= c->listen_ms)
		ask_to_listen(c);
	next = sooner(trunks_tick(c->trunks, now), rider_tick(c->rider, now));
	if (c->seek_ms > 0)
		next = sooner(next, c->seek_ms);
	if (c->listen_ms > 0)
		next = sooner(next, c->listen_ms);
	c->ticking = false;
	if (c->is_due)
		next = now;
	if (next < UINT64_MAX)
		ws_set_lane_timer(c->options.ws, next > now ? next - now : 0);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void find_socket(struct carriage *c)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int r = platform_socket_path(c->home, SOCKET_NAME, path, sizeof(path), &c->home_fd);

	if (r < 0) {
		log_warn("databases of this home cannot share connections: %s: %s, ignoring",
			 c->home, strerror(-r));
		c->alone = true;
		return;
	}
	memcpy(c->socket.host, path, sizeof(path));
}

struct carriage *carriage_create(const struct carriage_options *options)
{
	struct carriage *c = xcalloc(1, sizeof(*c));

	c->options = *options;
	c->options.home = NULL;
	c->lock_fd = -1;
	c->home_fd = -1;
	c->alone = !options->home;
	c->home = options->home ? xstrdup(options->home) : NULL;
	if (c->home)
		find_socket(c);
	c->trunks = trunks_create(&(struct trunks_options){
		.ws = options->ws,
		.own_id = options->own->id,
		.offered = offered,
		.due = due,
		.ctx = c,
	});
	c->carrier = carrier_create(&(struct carrier_options){
		.trunks = c->trunks, .listen = listen_here, .unwanted = take, .ctx = c});
	c->rider = rider_create(&(struct rider_options){
		.ws = options->ws,
		.knows = knows,
		.accept = rider_accept,
		.up = on_up,
		.down = on_down,
		.listening = on_listening,
		.due = due,
		.ctx = c,
	});
	return c;
}

void carriage_start(struct carriage *c)
{
	seek(c);
}

void carriage_stop(struct carriage *c)
{
	c->stopped = true;
	rider_abandon(c->rider);
}

void carriage_destroy(struct carriage *c)
{
	if (!c)
		return;
	rider_destroy(c->rider);
	carrier_destroy(c->carrier);
	trunks_destroy(c->trunks);
	if (c->local.host[0])
		local_unlisten(&c->local);
	if (c->lock_fd >= 0 && c->socket.host[0])
		local_unlisten(&c->socket);
	close_fd(&c->lock_fd); /* from now on another mount may be the carrier */
	close_fd(&c->home_fd);
	free(c->wanted);
	free(c->home);
	free(c);
}
