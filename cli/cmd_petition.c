/* What is said to the process that has the database open when a device is removed with the recovery words. */
#include "cli/petition.h"

#include "cli/account.h"
#include "cli/client.h"
#include "cli/peer.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/petition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES_MAX 64

/* ---- where the database is ------------------------------------------------------------------- */

struct petition_options {
	const char *remove;
	const char *acts;
	const char *signature;
	int64_t keep;
};

static const struct option_row petition_rows[] = {
	{"acts", 'a', OPTION_TEXT, "DEVICE", "what it has done to the members",
	 offsetof(struct petition_options, acts), 0},
	{"remove", 'r', OPTION_TEXT, "DEVICE", "what is to be signed to remove it",
	 offsetof(struct petition_options, remove), 0},
	{"keep", 'k', OPTION_NUMBER, "N", "how many of its acts count",
	 offsetof(struct petition_options, keep), 0},
	{"signed", 's', OPTION_TEXT, "TEXT", "what was signed: does it",
	 offsetof(struct petition_options, signature), 0},
};

struct acts {
	struct out *out;
	struct service *service;
};

static void say_act(void *ctx, const struct member_act *act)
{
	static const char *const texts[] = {
		[AUTH_MEMBER] = "admitted",	 [AUTH_REMOVE] = "removed",
		[AUTH_EPOCH] = "began new keys", [AUTH_SETTING] = "set",
		[AUTH_ROLE] = "gave a role to",
	};
	const struct acts *a = ctx;
	const char *text = act->kind < countof(texts) ? texts[act->kind] : NULL;

	if (!text)
		return;
	AUTO(free_ptr) char *about = show_text(act->about);
	out_printf(a->out, "%6" PRIu64 "  %s%s%s\n", act->seq, text, *about ? " " : "", about);
}

static int carry_out(struct service *s, struct out *out, const char *text)
{
	AUTO(buf_fini) struct buf bytes = {0};
	int r = base64_decode(text, strlen(text), &bytes);

	if (r == 0)
		r = petition_carry_out(s->db, buf_slice(&bytes));
	switch (-r) {
	case 0:
		return CODE_OK;
	case EACCES:
		return out_error(out, CODE_PAIRING,
				 "devices: these are the words of another account, not of this "
				 "database's");
	case EAGAIN:
		return out_error(
			out, CODE_FAILED,
			"devices: the members changed meanwhile; look at them and try again");
	default:
		return out_error(out, command_code(r), "devices: cannot do that: %s", strerror(-r));
	}
}

static int petition_serve(struct service *s, struct out *out, int argc, char **argv)
{
	struct petition_options o = {.keep = INT64_MAX};
	AUTO(buf_fini) struct buf petition = {0};
	AUTO(buf_fini) struct buf text = {0};
	struct member_info m;
	struct why why = {""};
	int code = CODE_OK;

	if (!options_parse(&cmd_petition.usage, &o, argc, argv, out, &code))
		return code;
	if (o.signature)
		return carry_out(s, out, o.signature);
	if (!o.acts && !o.remove)
		return out_error(out, CODE_USAGE, "petition: nothing to do");
	code = peer_find_member(s, o.acts ? o.acts : o.remove, &m, out);
	if (code != CODE_OK)
		return code;
	if (o.acts) {
		struct acts a = {out, s};

		db_member_acts(s->db, m.device.actor, say_act, &a);
		return CODE_OK;
	}
	if (petition_remove(s->db, m.device.actor, (uint64_t)o.keep, &petition, &why) < 0)
		return out_error(out, CODE_FAILED, "devices: %s", why.text);
	base64_encode(buf_slice(&petition), &text);
	out_text(out, buf_slice(&text));
	return CODE_OK;
}

const struct command cmd_petition = {
	.usage = {.name = "petition",
		  .operands = "[NAME|DIR]",
		  .operands_max = 1,
		  .summary = "For blaze devices remove --words.",
		  .rows = petition_rows,
		  .row_count = countof(petition_rows)},
	.run = client_run,
	.serve = petition_serve,
	.hidden = true,
};

/* ---- where the person is ---------------------------------------------------------------------- */

/* Runs it there; what it says goes to *answer. */
static int call(struct out *out, const char *option, const char *value, const char *more,
		const char *database, struct buf *answer)
{
	char name[] = "petition";
	AUTO(free_ptr) char *first = xasprintf("--%s=%s", option, value);
	AUTO(free_ptr) char *second = xstrdup(more ? more : "");
	AUTO(free_ptr) char *where = xstrdup(database ? database : "");
	char *argv[5] = {name, first};
	int n = 2;

	if (more)
		argv[n++] = second;
	if (database)
		argv[n++] = where;
	out_flush(out);
	out->capture = answer;
	int code = client_run(&cmd_petition, out, n, argv);
	out_flush(out);
	out->capture = NULL;
	return code;
}

/* From which of its acts on they shall not count: that number, or UINT64_MAX. 0: no number. */
static uint64_t ask_undo(struct out *out, const struct buf *acts)
{
	char line[ANSWER_BYTES_MAX] = "";
	char *end = NULL;

	if (acts->len == 0)
		return UINT64_MAX;
	out_printf(out, "What it has done to the members, in order:\n\n");
	out_text(out, buf_slice(acts));
	out_printf(out, "\nIf it was in wrong hands: from which number on shall that not count? "
			"[Enter: all of it counts] ");
	out_flush(out);
	if (!fgets(line, sizeof(line), stdin))
		return 0;
	if (line[0] == '\n')
		return UINT64_MAX;
	uint64_t n = line[0] >= '0' && line[0] <= '9' ? strtoull(line, &end, 10) : 0;
	return n > 0 && *end == '\n' ? n : 0;
}

int petition_run_removal(struct out *out, const char *device, const char *database)
{
	AUTO(buf_fini) struct buf acts = {0};
	AUTO(buf_fini) struct buf text = {0};
	AUTO(buf_fini) struct buf petition = {0};
	AUTO(buf_fini) struct buf done = {0};
	struct account account;

	if (!account_has_terminal())
		return out_error(out, CODE_USAGE,
				 "devices: the words are asked for on a terminal only");
	int code = call(out, "acts", device, NULL, database, &acts);
	if (code != CODE_OK)
		return code;
	uint64_t undo = ask_undo(out, &acts);
	if (undo == 0)
		return out_error(out, CODE_USAGE, "devices: that is no number of the list");
	code = account_ask_words(out, "devices", &account);
	if (code != CODE_OK)
		return code;
	AUTO(free_ptr)
	char *keep = undo == UINT64_MAX ? NULL : xasprintf("--keep=%" PRIu64, undo - 1);
	code = call(out, "remove", device, keep, database, &text);
	if (code == CODE_OK && (base64_decode(buf_str(&text), text.len, &petition) < 0 ||
				petition_sign(&account, buf_slice(&petition), &done) < 0))
		code = out_error(out, CODE_FAILED, "devices: cannot read what is to be signed");
	wipe(&account, sizeof(account));
	if (code != CODE_OK)
		return code;
	buf_clear(&text);
	base64_encode(buf_slice(&done), &text);
	code = call(out, "signed", buf_str(&text), NULL, database, &acts);
	if (code != CODE_OK)
		return code;
	AUTO(free_ptr) char *shown = show_text(device);
	out_printf(out,
		   "Removed %s, by the account's word. New keys are in use; other devices follow "
		   "when they hear of it.\nLook at who is a member now: blaze devices\n",
		   shown);
	return CODE_OK;
}
