/*
 * Joining: pair with the link or code, make the database, receive it.
 *
 * The database is made in a directory that does not count yet (home.h) and gets its name only when it
 * opens: a join that is killed leaves no half database behind.
 */
#include "cli/join.h"

#include "cli/command.h"
#include "cli/home.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/platform.h"
#include "core/thread.h"
#include "net/relays.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINK_PREFIX "blaze:pair#"
/* How long the other device may be silent before the rest is left to the first mount. */
#define SILENCE_MS 15000
#define LOOK_MS 20
/* How long it may take to be connected directly, before what a relay has is enough. */
#define DIRECT_MS 3000

struct join {
	const struct join_options *options;
	struct out *out;
	char *home;
	struct keys *keys;
	struct pair_result pair;
	char *peer;    /* the other device's name, for a terminal */
	char *joining; /* directory, until it has its name */
	char *name;
	int code; /* of what was decided about the offer */
};

static void join_fini(struct join *j)
{
	if (j->joining)
		home_discard(j->joining);
	if (j->pair.welcome.data)
		wipe(j->pair.welcome.data, j->pair.welcome.cap);
	buf_fini(&j->pair.welcome);
	keys_destroy(j->keys);
	free(j->home);
	free(j->peer);
	free(j->joining);
	free(j->name);
}

/* ---- pairing -------------------------------------------------------------------------------- */

int join_prepare(const char *device_name, struct out *out, char **ret_home, struct keys **ret_keys)
{
	struct why why = {""};

	(void)umask(077);
	if (home_find(ret_home, &why) < 0 || home_create(*ret_home, &why) < 0 ||
	    home_become_owner(*ret_home, &why) < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	int r = home_keys(*ret_home, device_name, ret_keys, &why);
	if (r < 0)
		return out_error(out, command_code(r == -ENOENT ? -EIO : r), "%s", why.text);
	return CODE_OK;
}

int join_code(int r)
{
	switch (-r) {
	case EKEYREJECTED:
	case ENOENT:
	case EINVAL:
		return CODE_PAIRING;
	case ETIMEDOUT:
		return CODE_TIMEOUT;
	default:
		return CODE_FAILED;
	}
}

/* ---- the database --------------------------------------------------------------------------- */

static int make_database(struct join *j)
{
	struct why why = {""};
	struct db *db = NULL;

	j->joining = home_joining(j->home);
	int r = db_join(j->joining, j->keys, buf_slice(&j->pair.welcome), &why);
	if (r >= 0)
		r = db_open(j->joining, j->keys, NULL, &db, &why);
	if (r < 0)
		return out_error(j->out, command_code(r == -ENOENT ? -EIO : r), "%s", why.text);
	j->name = xstrdup(db_name(db));
	if (!j->pair.by_relay)
		(void)db_set_peer_endpoint(db, j->pair.peer.actor, j->pair.endpoint);
	db_close(db);
	if (!home_name_is_valid(j->name)) {
		AUTO(free_ptr) char *shown = show_text(j->name);
		return out_error(
			j->out, CODE_FAILED,
			"%s calls its database \"%s\", which is no name for a database: nothing was "
			"kept",
			j->peer, shown);
	}
	AUTO(free_ptr) char *dir = home_database(j->home, j->name);
	if (access(dir, F_OK) == 0)
		return out_error(
			j->out, CODE_FAILED,
			"a database \"%s\" is on this device already: move %s away or set BLAZE_HOME to "
			"another place, then pair again",
			j->name, dir);
	return CODE_OK;
}

/* Asks on a terminal only: a script has decided already. */
static int ask_trust(struct join *j)
{
	AUTO(free_ptr)
	char *question = xasprintf("Trust %s and join \"%s\"? [y/N] ", j->peer, j->name);

	if (out_ask(j->out, question) > 0)
		return CODE_OK;
	return out_error(j->out, CODE_PAIRING, "not joined: nothing was kept here");
}

/* ---- the link ------------------------------------------------------------------------------- */

bool join_is_invitation(const char *text)
{
	return strstr(text, LINK_PREFIX) || net_is_code(text);
}

/* The other device has proven that it knows the secret, and waits for its person to say yes. */
static void show_offer(void *ctx, const struct pair_result *offer)
{
	struct join *j = ctx;

	j->peer = show_text(offer->peer.name);
	if (j->options->account)
		return; /* nobody sits there */
	out_printf(j->out, "Found %s %s %s.\n", j->peer,
		   offer->by_relay ? "through the relay" : "at", offer->endpoint);
	out_printf(j->out, "Check that both devices show:   %s\n", offer->words);
	out_flush(j->out);
}

/* Everything that can still go wrong here goes wrong before the other device counts on this one. */
static int accept_offer(void *ctx, const struct pair_result *offer)
{
	struct join *j = ctx;

	j->pair = *offer;
	j->code = make_database(j);
	if (j->code == CODE_OK && !j->options->account)
		j->code = ask_trust(j);
	out_flush(j->out);
	j->pair.welcome = (struct buf){0}; /* lent */
	return j->code == CODE_OK ? 0 : -ECANCELED;
}

static int pair(struct join *j, char *text)
{
	struct why why = {""};
	char *link = net_is_code(text) ? text : strstr(text, LINK_PREFIX);
	uint64_t timeout_ms = j->options->timeout_ms == INT64_MAX ? JOIN_REACH_MS
								  : (uint64_t)j->options->timeout_ms;

	if (!link && !j->options->account)
		return out_error(
			j->out, CODE_PAIRING,
			"that is no pairing code and no link: copy what blaze pair prints on the other device");
	if (link && link != text)
		link[strcspn(link, " \t\r\n\"'")] = 0;
	const struct pair_target target = {.text = link,
					   .account = j->options->account,
					   .at = j->options->at,
					   .database = j->options->database,
					   .device_id = j->options->device_id,
					   .timeout_ms = timeout_ms};
	const struct pair_confirm confirm = {.proven = show_offer, .confirm = accept_offer, .ctx = j};
	int r = net_pair_join(&target, j->keys, &confirm, &j->pair, &why);
	if (link)
		wipe(link, strlen(link));
	if (r == -ECANCELED)
		return j->code;
	return r < 0 ? out_error(j->out, join_code(r), "%s", why.text) : CODE_OK;
}

static int give_name(struct join *j)
{
	AUTO(free_ptr) char *dir = home_database(j->home, j->name);
	AUTO(close_fd) int home_fd = open(j->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	int r = platform_rename_new(j->joining, dir);
	if (r < 0)
		return out_error(j->out, CODE_FAILED, "cannot create %s: %s", dir, strerror(-r));
	free(STEAL(j->joining));
	if (home_fd >= 0)
		(void)fsync(home_fd);
	return CODE_OK;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* Whether a relay has given all that it has; and what came from there. */
static bool relay_told_all(struct service *s, uint64_t *ret_bytes)
{
	AUTO(free_ptr) struct relay_info *infos = NULL;
	size_t n = net_relay_list(s->net, &infos);
	bool all = false;

	*ret_bytes = 0;
	for (size_t i = 0; i < n; i++) {
		*ret_bytes += infos[i].down_bytes;
		all = all || (infos[i].state == RELAY_OPEN && infos[i].idle && !infos[i].asking &&
			      infos[i].generation == db_generation(s->db));
	}
	return all;
}

static void say_received(const struct join *j, struct service *s, bool again)
{
	AUTO(buf_fini) struct buf size = {0};
	struct peer_status p = {0};
	uint64_t relayed = 0;
	struct db_stats stats;

	db_get_stats(s->db, &stats);
	(void)status_get(s->status, j->pair.peer.actor, &p);
	(void)relay_told_all(s, &relayed);
	show_size(&size, p.down_bytes + relayed);
	out_printf(j->out, "%sPaired. Receiving \"%s\": %" PRIu64 " record%s, %s …",
		   again ? "\r\033[K" : "", j->name, stats.record_count,
		   show_plural(stats.record_count), buf_str(&size));
}

/*
 * Until the peer has nothing that we lack, or the relay through which it was found. -ETIMEDOUT when nothing new has come for a while: what the
 * connection says to keep itself alive does not count.
 */
static int receive(const struct join *j, struct service *s)
{
	uint64_t last_generation = 0;
	uint64_t last_ms = monotonic_ms();
	uint64_t relay_ms = last_ms + (j->pair.by_relay ? 0 : DIRECT_MS);
	uint64_t said_ms = 0;

	for (;;) {
		uint64_t generation = db_generation(s->db);
		uint64_t now = monotonic_ms();
		struct peer_status p = {0};
		uint64_t relayed = 0;

		(void)status_get(s->status, j->pair.peer.actor, &p);
		if (p.state == PEER_SYNCED)
			return 0;
		if (p.state != PEER_SYNCING && now >= relay_ms && relay_told_all(s, &relayed))
			return 0;
		if (generation != last_generation) {
			last_ms = now;
			(void)db_sync(s->db); /* only what is durable is acknowledged */
		}
		last_generation = generation;
		if (now - last_ms > SILENCE_MS)
			return -ETIMEDOUT;
		if (j->out->tty && now - said_ms > 200) {
			say_received(j, s, said_ms != 0);
			out_flush(j->out);
			said_ms = now;
		}
		(void)db_wait_change(s->db, generation, now + LOOK_MS);
	}
}

static int fetch(struct join *j)
{
	struct service s = {0};
	int code = service_open(&s, j->home, j->name, j->out);

	if (code == CODE_OK)
		code = service_open_net(&s, j->options->listen, j->out);
	if (code == CODE_OK) {
		int r = receive(j, &s);

		say_received(j, &s, j->out->tty);
		out_printf(j->out, r < 0 ? "\n" : " done.\n");
		if (r < 0) {
			out_printf(
				j->out,
				"%s is not answering now; the rest comes when \"%s\" is mounted.\n",
				j->peer, j->name);
			code = CODE_ATTENTION;
		}
		out_printf(j->out, "Next:  blaze mount %s DIR\n", j->name);
	}
	out_flush(j->out);
	service_close(&s);
	return code;
}

int join_run_with(char *text, const struct join_options *options, struct out *out)
{
	AUTO(join_fini) struct join j = {.options = options, .out = out};
	int code = join_prepare(options->device_name, out, &j.home, &j.keys);

	if (code == CODE_OK)
		code = pair(&j, text);
	wipe(text, strlen(text));
	if (code == CODE_OK)
		code = give_name(&j);
	if (code == CODE_OK)
		code = fetch(&j);
	return code;
}
