/* blaze ping: how long another device takes to answer. */
#include "cli/client.h"
#include "cli/peer.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/thread.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 5000
/* Between two of several. */
#define PAUSE_MS 200
/* How often it is looked whether a device is connected by now. */
#define LOOK_MS 20

struct ping_options {
	int64_t timeout_ms;
	int64_t count;
	bool json;
};

static const struct option_row ping_rows[] = {
	{"count", 'c', OPTION_NUMBER, "N", "so many times, one after the other (default: 1)",
	 offsetof(struct ping_options, count), 0},
	{"timeout", 't', OPTION_DURATION, "T", "give up after T (default: 5s), with exit code 4",
	 offsetof(struct ping_options, timeout_ms), 0},
	{"json", 'j', OPTION_FLAG, NULL, "print one JSON object for each answer",
	 offsetof(struct ping_options, json), 0},
};

static void sleep_ms(unsigned ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&t, NULL);
}

/* A device that is about to be reached is waited for. */
static int ping(struct service *s, uint64_t actor, uint64_t deadline_ms, struct out *out,
		int64_t *ret_rtt_us)
{
	int r;

	while ((r = net_ping(s->net, actor, deadline_ms, ret_rtt_us)) == -ENOTCONN &&
	       monotonic_ms() < deadline_ms && !out_is_cancelled(out))
		sleep_ms(LOOK_MS);
	return r;
}

static int say_failed(struct service *s, const struct device *peer, int r, bool json,
		      struct out *out)
{
	struct peer_status p = {.state = PEER_OFFLINE};
	AUTO(free_ptr) char *name = show_text(peer->name);
	AUTO(buf_fini) struct buf line = {0};

	(void)status_get(s->status, peer->actor, &p);
	if (json) {
		buf_printf(&line, "{\"v\":1,");
		show_json_text(&line, "name", peer->name);
		out_printf(out, "%s\"rtt_ms\":null}\n", buf_str(&line));
	}
	if (r == -ENOTCONN || (p.state != PEER_SYNCING && p.state != PEER_SYNCED))
		return out_error(out, CODE_TIMEOUT, "ping: %s is %s%s%s: see blaze status", name,
				 peer_state_name(PEER_OFFLINE), p.last_error[0] ? ": " : "",
				 p.last_error);
	if (r == -ETIMEDOUT)
		return out_error(out, CODE_TIMEOUT,
				 "ping: %s does not answer: it is busy, asleep, or out of reach",
				 name);
	return out_error(out, CODE_FAILED, "ping: %s", strerror(-r));
}

static void say_answer(struct service *s, const struct device *peer, int64_t rtt_us, bool json,
		       struct out *out)
{
	struct peer_status p = {.state = PEER_OFFLINE};
	AUTO(free_ptr) char *name = show_text(peer->name);
	AUTO(buf_fini) struct buf line = {0};

	(void)status_get(s->status, peer->actor, &p);
	if (!json) {
		out_printf(out, "%s: %.2f ms, %s, %s\n", name, (double)rtt_us / 1000,
			   peer_path_name(p.path), p.endpoint);
		return;
	}
	buf_printf(&line, "{\"v\":1,");
	show_json_text(&line, "name", peer->name);
	show_json_text(&line, "path", peer_path_name(p.path));
	show_json_text(&line, "endpoint", p.endpoint);
	out_printf(out, "%s\"rtt_ms\":%.3f}\n", buf_str(&line), (double)rtt_us / 1000);
}

static int ping_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct ping_options o = {.timeout_ms = TIMEOUT_MS, .count = 1};
	struct device peer;
	int code = CODE_OK;
	int first = options_parse(&cmd_ping.usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first == argc)
		return out_error(out, CODE_USAGE, "ping: which device? Usage: blaze ping DEVICE");
	code = peer_find(s, "ping", argv[first], false, &peer, out);
	for (int64_t i = 0; i < o.count && code == CODE_OK && !out_is_cancelled(out); i++) {
		uint64_t deadline = monotonic_ms() + (uint64_t)o.timeout_ms;
		int64_t rtt_us = -1;

		if (i > 0)
			sleep_ms(PAUSE_MS);
		int r = ping(s, peer.actor, deadline, out, &rtt_us);
		if (r < 0)
			code = say_failed(s, &peer, r, o.json, out);
		else
			say_answer(s, &peer, rtt_us, o.json, out);
		out_flush(out);
	}
	return code;
}

/* After the device. */
static int database_operand(int count, char **operands)
{
	(void)operands;
	return count < 1 ? count : 1;
}

const struct command cmd_ping = {
	.usage = {.name = "ping",
		  .operands = "DEVICE [NAME|DIR]",
		  .operands_max = 2,
		  .summary = "Says how long another device takes to answer, and through what.",
		  .rows = ping_rows,
		  .row_count = countof(ping_rows)},
	.run = client_run,
	.serve = ping_serve,
	.path_operand = database_operand,
	.needs = COMMAND_NEEDS_NET,
};
