/* A database with its keys, files layer and network, opened in order and closed in reverse. */
#include "cli/service.h"

#include "cli/command.h"
#include "cli/home.h"
#include "cli/show.h"
#include "core/hold.h"
#include "core/log.h"
#include "core/thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SETTING_LISTEN "listen"
/* How long a database that is being closed is waited for. */
#define BUSY_MS 3000
/* How often a wait looks whether it was cancelled. */
#define WAIT_SLICE_MS 100

/* Its daemon may be about to end: umount(8) and fusermount3 return before it has flushed and closed everything. */
static int open_database(struct service *s, struct why *why)
{
	const struct timespec moment = {.tv_nsec = 20000000};
	uint64_t deadline = monotonic_ms() + BUSY_MS;
	int r;

	while ((r = db_open(s->dir, s->keys, NULL, &s->db, why)) == -EBUSY &&
	       monotonic_ms() < deadline)
		(void)nanosleep(&moment, NULL);
	return r < 0 ? r : hold_enable(s->db);
}

int service_open(struct service *s, const char *home, const char *name, struct out *out)
{
	struct why why = {""};

	*s = (struct service){
		.home = xstrdup(home),
		.name = xstrdup(name),
		.dir = home_database(home, name),
	};
	if (!home_has_database(home, name))
		return out_error(
			out, CODE_NO_DATABASE,
			"no database \"%s\" in %s: see blaze mount for what is there, or make one with "
			"blaze init %s",
			name, home, name);
	int r = home_become_owner(s->dir, &why);
	if (r < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	r = home_keys(home, NULL, &s->keys, &why);
	if (r < 0)
		return out_error(out, CODE_WRONG_KEY, "%s", why.text);
	r = open_database(s, &why);
	if (r < 0)
		return out_error(out, command_code(r), "%s", why.text);
	s->status = status_create();
	status_set_watch(s->status, db_watch(s->db));
	return CODE_OK;
}

int service_open_files(struct service *s, uid_t uid, gid_t gid, struct out *out)
{
	struct vfs_options options = {.db = s->db, .uid = uid, .gid = gid};
	struct why why = {""};

	assert(!s->vfs);
	int r = vfs_create(&options, &s->vfs, &why);
	if (r < 0)
		return out_error(out, command_code(r == -ENOENT ? -EIO : r), "%s", why.text);
	return CODE_OK;
}

/* ---- the address to listen on --------------------------------------------------------------- */

/* "host:" of "host:port", with the colon. */
static size_t host_len(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon ? (size_t)(colon - address) + 1 : 0;
}

static char *any_port(const char *address)
{
	return xasprintf("%.*s0", (int)host_len(address), address);
}

static bool is_any_port(const char *address)
{
	return host_len(address) && strcmp(address + host_len(address), "0") == 0;
}

static int start_net(struct service *s, const char *listen, struct why *why)
{
	struct net_options options = {
		.db = s->db,
		.keys = s->keys,
		.status = s->status,
		.listen = listen,
		.home = s->home,
	};

	return net_start(&options, &s->net, why);
}

/*
 * "Any port" includes the one of last time, and other devices know that one. So it is tried first; when
 * somebody else has taken it, any other will do, and is told to the peers when they connect.
 */
static int open_remembered(struct service *s, const char *remembered, bool asked, struct out *out)
{
	struct why why = {""};
	int r = start_net(s, remembered, &why);

	if (r >= 0)
		return CODE_OK;
	AUTO(free_ptr) char *any = any_port(remembered);
	r = start_net(s, any, &why);
	if (r >= 0) {
		char bound[ENDPOINT_BYTES_MAX + 1];

		net_endpoint(s->net, bound);
		if (!asked)
			out_warn(out,
				 "the address of last time, %s, is taken: listening on %s instead",
				 remembered, bound);
		return CODE_OK;
	}
	if (asked)
		return out_error(out, CODE_FAILED, "%s", why.text);
	out_warn(out, "not listening, other devices can only be dialled: %s", why.text);
	r = start_net(s, NULL, &why);
	return r < 0 ? out_error(out, CODE_FAILED, "%s", why.text) : CODE_OK;
}

int service_open_net(struct service *s, const char *listen, struct out *out)
{
	AUTO(free_ptr) char *remembered = NULL;
	struct why why = {""};

	assert(!s->net);
	if (db_get_setting(s->db, SETTING_LISTEN, &remembered) < 0 || !remembered)
		remembered = xstrdup("");
	if (listen && strcmp(listen, "none") == 0) {
		(void)db_set_setting(s->db, SETTING_LISTEN, "");
	} else if (listen) {
		size_t n = host_len(listen);
		bool same_host =
			n && n == host_len(remembered) && strncmp(listen, remembered, n) == 0;

		if (is_any_port(listen) && same_host) {
			int code = open_remembered(s, remembered, true, out);

			if (code == CODE_OK)
				service_remember_listen(s);
			return code;
		}
	} else if (remembered[0]) {
		return open_remembered(s, remembered, false, out);
	}
	int r = start_net(s, listen && strcmp(listen, "none") != 0 ? listen : NULL, &why);
	if (r < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	if (listen)
		service_remember_listen(s);
	return CODE_OK;
}

void service_remember_listen(struct service *s)
{
	char bound[ENDPOINT_BYTES_MAX + 1];
	AUTO(free_ptr) char *old = NULL;

	net_endpoint(s->net, bound);
	if (db_get_setting(s->db, SETTING_LISTEN, &old) >= 0 && old && strcmp(old, bound) == 0)
		return;
	int r = bound[0] ? db_set_setting(s->db, SETTING_LISTEN, bound) : 0;
	if (r < 0)
		log_warn("cannot remember the address to listen on: %s, ignoring", strerror(-r));
}

/* ---- closing -------------------------------------------------------------------------------- */

static bool any_connected(const struct service *s)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->db, &peers);
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		struct peer_status p;

		found |= status_get(s->status, peers[i].actor, &p) &&
			 (p.state == PEER_SYNCING || p.state == PEER_SYNCED);
	}
	free(peers);
	return found;
}

/* To a device that is connected, or to a relay that keeps it for others. */
static bool is_sending(const struct service *s)
{
	return (any_connected(s) && !db_is_acked(s->db)) || !net_relays_have_all(s->net);
}

void service_close_files(struct service *s, uint64_t flush_ms)
{
	uint64_t deadline = monotonic_ms() + flush_ms;

	vfs_destroy(STEAL(s->vfs));
	while (s->net && monotonic_ms() < deadline && is_sending(s)) {
		uint64_t slice = monotonic_ms() + WAIT_SLICE_MS / 4;

		(void)db_wait_change(s->db, db_generation(s->db),
				     slice < deadline ? slice : deadline);
	}
}

void service_close(struct service *s)
{
	if (s->vfs)
		vfs_destroy(STEAL(s->vfs));
	net_stop(STEAL(s->net));
	if (s->db)
		db_close(STEAL(s->db));
	status_destroy(STEAL(s->status));
	keys_destroy(STEAL(s->keys));
	free(s->mountpoint);
	free(s->home);
	free(s->name);
	free(s->dir);
	*s = (struct service){0};
}

/* ---- facts ---------------------------------------------------------------------------------- */

struct report_source service_report(const struct service *s)
{
	return (struct report_source){
		.db = s->db,
		.status = s->net ? s->status : NULL,
		.held_count = s->vfs ? vfs_held_count(s->vfs) : 0,
		.mountpoint = s->mountpoint ? s->mountpoint : "",
		.too_large = s->vfs ? vfs_too_large : NULL,
		.files = s->vfs,
	};
}

uint64_t service_unsent(const struct service *s)
{
	struct db_stats stats;
	uint64_t held = s->vfs ? vfs_held_count(s->vfs) : 0;

	db_get_stats(s->db, &stats);
	if (stats.peer_count == 0)
		return 0;
	/* The count may be of a moment before the last change. */
	uint64_t n = stats.pending_count + held;
	return n == 0 && !db_is_acked(s->db) ? 1 : n;
}

uint64_t service_change_count(const struct service *s)
{
	struct db_stats stats;

	db_get_stats(s->db, &stats);
	return stats.change_count;
}

int service_wait_acked(struct service *s, struct out *out, uint64_t deadline_ms,
		       const struct service_progress *progress, uint64_t *ret_count)
{
	for (;;) {
		uint64_t seen = db_generation(s->db);
		uint64_t now = monotonic_ms();
		uint64_t slice =
			now + WAIT_SLICE_MS < deadline_ms ? now + WAIT_SLICE_MS : deadline_ms;
		bool settled = !s->vfs || vfs_settle(s->vfs, slice);
		/* Counted before the question, so that the answer is about no fewer. */
		uint64_t count = service_change_count(s);

		if (settled && db_is_acked(s->db) && (!s->vfs || vfs_held_count(s->vfs) == 0)) {
			*ret_count = count;
			return 0;
		}
		if (out_is_cancelled(out))
			return -ECANCELED;
		if (monotonic_ms() >= deadline_ms)
			return -ETIMEDOUT;
		if (progress)
			progress->tick(progress->ctx);
		if (settled)
			(void)db_wait_change(s->db, seen, slice);
	}
}

void service_peer_names(const struct service *s, bool lacking, struct buf *out)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->db, &peers);
	uint64_t held = s->vfs ? vfs_held_count(s->vfs) : 0;
	size_t picked = 0;

	for (size_t i = 0; i < n; i++) {
		if (!lacking || held || db_peer_behind(s->db, peers[i].actor))
			peers[picked++] = peers[i];
	}
	if (picked == 0 || picked > 2) {
		buf_printf(out, "%zu other devices", picked ? picked : n);
	} else {
		AUTO(free_ptr) char *a = show_text(peers[0].name);
		AUTO(free_ptr) char *b = show_text(peers[picked - 1].name);

		buf_printf(out, picked == 1 ? "%s" : "%s and %s", a, b);
	}
	free(peers);
}

#define SETTLE_MS 3000

void service_settle(struct service *s)
{
	if (s->vfs)
		(void)vfs_settle_gone(s->vfs, monotonic_ms() + SETTLE_MS);
}

void service_told(struct service *s)
{
	if (s->vfs)
		(void)vfs_settle_told(s->vfs, monotonic_ms() + SETTLE_MS);
}
