/* blaze pair: invites another device with a one-use code or link; blaze pair CODE accepts such an invitation. */
#include "cli/client.h"
#include "cli/join.h"
#include "cli/qr.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/thread.h"
#include "net/folders.h"
#include "net/relays.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK_BYTES_MAX 4096
#define TTL_MS ((int64_t)(INVITE_TTL_MS))
#define LOOK_MS 100
/* An inviter that is not mounted goes on sending until the other device has been silent for so long. */
#define SILENCE_MS 15000
/* How long the other device may take to hang up when it has everything. */
#define HANG_UP_MS 3000

struct pair_options {
	const char *name;
	const char *at;
	const char *listen;
	const char *role;
	int64_t timeout_ms;
};

static const struct option_row pair_rows[] = {
	{"timeout", 't', OPTION_DURATION, "T",
	 "how long the code is good (at most 5 minutes); with CODE or LINK: how long to try",
	 offsetof(struct pair_options, timeout_ms), 0},
	{"listen", 'l', OPTION_TEXT, "A:P", "address to be reached at; port 0 is any",
	 offsetof(struct pair_options, listen), 0},
	{"name", 'n', OPTION_TEXT, "DEVICE",
	 "with CODE or LINK: what other devices call this one (default: the host's name)",
	 offsetof(struct pair_options, name), 0},
	{"role", 'r', OPTION_TEXT, "ROLE",
	 "what the other device may do: read, write, manage or owner (default: owner)",
	 offsetof(struct pair_options, role), 0},
	{"at", 'a', OPTION_TEXT, "A:P", "with CODE: where the other device is, if it is not found",
	 offsetof(struct pair_options, at), 0},
};

/* ---- inviting ------------------------------------------------------------------------------- */

static void invite_text_fini(struct invite_text *t)
{
	wipe(t->code, sizeof(t->code));
	if (t->link.data)
		wipe(t->link.data, t->link.cap);
	buf_fini(&t->link);
}

/* Why a device that cannot reach this one cannot use the code. */
static void print_no_relay(struct service *s, struct out *out)
{
	AUTO(free_ptr) struct relay_info *relays = NULL;
	AUTO(free_ptr) struct folder_info *folders = NULL;
	size_t relay_count = net_relay_list(s->net, &relays);
	size_t folder_count = net_folder_list(s->net, &folders);

	for (size_t i = 0; i < relay_count; i++)
		out_printf(out, "The relay %s does not answer now%s%s.\n", relays[i].address,
			   relays[i].error[0] ? ": " : "", relays[i].error);
	if (relay_count == 0 && folder_count > 0)
		out_printf(out, "A folder relay cannot pass a code on.\n");
	if (relay_count > 0 || folder_count > 0)
		out_printf(out, "The other device has to reach this one, on the same network or with "
				"--at.\n");
}

static void print_invitation(struct service *s, struct out *out, struct invite_text *t,
			     uint64_t ttl_ms)
{
	AUTO(buf_fini) struct buf life = {0};
	AUTO(free_ptr) char *whole = xasprintf("%s%s%s", t->code, t->relay[0] ? "@" : "", t->relay);

	out_printf(out, "On the other device run:\n\n    blaze pair %s\n\n", whole);
	if (out->tty) {
		AUTO(buf_fini) struct buf drawing = {0};
		AUTO(free_ptr) char *scanned = xasprintf("blaze:pair/%s", whole);

		qr_draw(scanned, &drawing);
		out_printf(out, "or scan:\n\n%s\n", buf_str(&drawing));
	}
	out_printf(out, "or, where it is not found, and in scripts:\n\n    blaze pair \"%s\"\n\n",
		   buf_str(&t->link));
	if (ttl_ms == (uint64_t)TTL_MS)
		buf_printf(&life, "5 minutes");
	else
		show_duration(&life, ttl_ms);
	if (t->relay[0])
		out_printf(out,
			   "It waits here, and at the relay %s, which can read nothing of it.\n"
			   "On the same network, what follows the words can be left out.\n",
			   t->relay);
	else
		print_no_relay(s, out);
	out_printf(out, "Code and link are good for %s and one try. Waiting…\n", buf_str(&life));
	out_flush(out);
}

/* Opens the way in, if none is open, and prints code and link. */
static int invite(struct service *s, struct out *out, const struct pair_options *o, uint64_t *ret_id)
{
	AUTO(invite_text_fini) struct invite_text text = {0};
	const struct invite_options options = {
		.ttl_ms = (uint64_t)(o->timeout_ms < TTL_MS ? o->timeout_ms : TTL_MS),
		.role = o->role ? show_parse_role(o->role) : MEMBER_OWNER,
		.ask = out->tty,
	};
	struct why why = {""};

	if (!options.role)
		return out_error(out, CODE_USAGE,
				 "pair: --role is one of read, write, manage and owner");

	if (o->listen && net_listen(s->net, o->listen, &why) < 0)
		return out_error(out, CODE_FAILED, "pair: %s", why.text);
	if (net_invite(s->net, &options, &text, ret_id, &why) < 0)
		return out_error(out, CODE_FAILED, "pair: %s", why.text);
	service_remember_listen(s);
	print_invitation(s, out, &text, options.ttl_ms);
	return CODE_OK;
}

static void print_words(struct out *out, const char *words)
{
	out_printf(out, "Check that both devices show:   %s\n", words);
}

/* The other device knows the secret; the person here looks at the words and decides. */
static void ask(struct service *s, struct out *out, uint64_t id, const struct device *device,
		const char *words, const char *role)
{
	AUTO(free_ptr) char *name = show_text(device->name);
	bool own = !role || strcmp(role, show_role(MEMBER_OWNER)) == 0;
	AUTO(free_ptr)
	char *question = own ? xasprintf("Trust %s as your own device, and give it \"%s\"? [y/N] ",
					 name, s->name)
			     : xasprintf("Let %s in, with the role %s, and give it \"%s\"? [y/N] ",
					 name, role, s->name);

	print_words(out, words);
	net_invite_answer(s->net, id, out_ask(out, question) > 0);
}

static enum invite_state await(struct service *s, struct out *out, uint64_t id,
			       struct device *device, char words[NET_WORDS_BYTES], const char *role)
{
	enum invite_state state = INVITE_WAITING;

	while ((state == INVITE_WAITING || state == INVITE_ASKING) && !out_is_cancelled(out)) {
		state = net_invite_wait(s->net, id, monotonic_ms() + LOOK_MS, device, words);
		if (state == INVITE_ASKING) {
			ask(s, out, id, device, words, role);
		}
	}
	if (state == INVITE_WAITING || state == INVITE_ASKING)
		net_invite_cancel(s->net, id);
	return state;
}

static bool is_connected(struct service *s, const struct device *device)
{
	struct peer_status p = {.state = PEER_OFFLINE};

	return status_get(s->status, device->actor, &p) &&
	       (p.state == PEER_SYNCING || p.state == PEER_SYNCED);
}

/* Whether a relay has all, and lets the new device in: then nobody needs this process any more. */
static bool relay_has_all(struct service *s)
{
	AUTO(free_ptr) struct relay_info *infos = NULL;
	size_t n = net_relay_list(s->net, &infos);
	bool any = false;

	for (size_t i = 0; i < n; i++)
		any = any || (infos[i].state == RELAY_OPEN && infos[i].idle && infos[i].listed &&
			      infos[i].generation == db_generation(s->db));
	return any && net_relays_have_all(s->net);
}

/*
 * Without a mount this process is all there is to receive from: it stays until the other device has
 * everything, and then until that one has hung up, so that both know it; or until a relay has it.
 */
static void send_all(struct service *s, struct out *out, const struct device *device,
		     const char *name)
{
	uint64_t alive_ms = monotonic_ms();
	uint64_t done_ms = 0;

	out_printf(out, "Sending \"%s\" …", s->name);
	out_flush(out);
	for (;;) {
		uint64_t now = monotonic_ms();
		bool connected = is_connected(s, device);

		if (db_peer_behind(s->db, device->actor) > 0)
			done_ms = 0;
		else if (!done_ms)
			done_ms = now;
		if (now - alive_ms > HANG_UP_MS && relay_has_all(s)) {
			out_printf(out, " the relay has it all.\n");
			return;
		}
		if (done_ms && (!connected || now - done_ms > HANG_UP_MS)) {
			out_printf(out, " done.\n");
			return;
		}
		if (connected)
			alive_ms = now;
		if (now - alive_ms > SILENCE_MS || out_is_cancelled(out)) {
			out_printf(out, "\n%s gets the rest when \"%s\" is mounted here.\n", name,
				   s->name);
			return;
		}
		(void)db_wait_change(s->db, db_generation(s->db), now + LOOK_MS);
	}
}

static int pair_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct pair_options o = {.timeout_ms = TTL_MS};
	char label[DEVICE_LABEL_BYTES];
	char words[NET_WORDS_BYTES] = "";
	struct device device;
	uint64_t id = 0;
	int code = CODE_OK;

	if (!options_parse(&cmd_pair.usage, &o, argc, argv, out, &code))
		return code;
	code = invite(s, out, &o, &id);
	if (code != CODE_OK)
		return code;
	switch (await(s, out, id, &device, words, o.role)) {
	case INVITE_DONE:
		break;
	case INVITE_WRONG:
		return out_error(
			out, CODE_PAIRING,
			"pair: somebody tried a wrong code, or declined to join: it is void now, run "
			"blaze pair again");
	case INVITE_DECLINED:
		return out_error(out, CODE_PAIRING,
				 "pair: not paired: the other device was given nothing");
	case INVITE_EXPIRED:
		return out_error(out, CODE_TIMEOUT,
				 "pair: nobody used the code in time: run blaze pair again");
	case INVITE_WAITING:
	case INVITE_ASKING:
	case INVITE_UNKNOWN:
	default:
		return out_error(out, CODE_FAILED,
				 "pair: cancelled, the code is void: run blaze pair again");
	}
	AUTO(free_ptr) char *name = show_text(device.name);
	device_label(&device, label);
	AUTO(free_ptr) char *shown = show_text(label);
	if (!out->tty) /* there, it was asked */
		print_words(out, words);
	out_printf(out, "Paired with %s (%s).\n", name, shown);
	if (!s->mountpoint)
		send_all(s, out, &device, name);
	return CODE_OK;
}

/* ---- which of the two ----------------------------------------------------------------------- */

static int join(char *text, const struct pair_options *o, struct out *out)
{
	struct join_options options = {
		.device_name = o->name ? o->name : "",
		.listen = o->listen,
		.at = o->at,
		.timeout_ms = o->timeout_ms,
	};

	return join_run_with(text, &options, out);
}

static int pair_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct pair_options o = {.timeout_ms = INT64_MAX};
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	bool joins =
		first < argc && (strcmp(argv[first], "-") == 0 || join_is_invitation(argv[first]));
	if (joins && o.role)
		return out_error(
			out, CODE_USAGE,
			"pair: --role is for the device that invites: see blaze pair --help");
	if (first < argc && strcmp(argv[first], "-") == 0) {
		char text[LINK_BYTES_MAX] = "";

		if (!fgets(text, sizeof(text), stdin))
			return out_error(out, CODE_USAGE,
					 "pair: standard input holds no code and no link");
		return join(text, &o, out);
	}
	if (first < argc && join_is_invitation(argv[first])) {
		/* What is in argv, anybody on this machine can read for as long as it stands there. */
		AUTO(free_ptr) char *text = xstrdup(argv[first]);

		wipe(argv[first], strlen(argv[first]));
		return join(text, &o, out);
	}
	if (o.name || o.at)
		return out_error(out, CODE_USAGE,
				 "pair: --%s goes with a code or link: see blaze pair --help",
				 o.name ? "name" : "at");
	return client_run(c, out, argc, argv);
}

const struct command cmd_pair = {
	.usage = {.name = "pair",
		  .operands = "[NAME|DIR|CODE[@RELAY]|LINK|-]",
		  .operands_max = 1,
		  .summary = "Invites another device; with a CODE, joins the one that invited.",
		  .notes = "Without a code: prints one for the other device (and a link that does the same), and\n"
			   "waits until it is used. With a code or link, or - to read it from standard input:\n"
			   "joins that device's database.\n",
		  .rows = pair_rows,
		  .row_count = countof(pair_rows)},
	.run = pair_run,
	.serve = pair_serve,
	.needs = COMMAND_NEEDS_FILES | COMMAND_NEEDS_NET,
};
