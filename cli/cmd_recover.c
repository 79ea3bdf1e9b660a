/*
 * blaze recover: joins with the account's words; shows them, if they were not yet.
 *
 * A port may be that of several databases. First all are asked for: each is told its WELCOME, which has its name, and left
 * again; the next is asked for without those. Then the person says yes, and each is joined.
 */
#include "cli/account.h"
#include "cli/command.h"
#include "cli/home.h"
#include "cli/join.h"
#include "cli/show.h"
#include "core/db.h"
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

struct recover_options {
	const char *name;
	const char *listen;
	bool show;
};

static const struct option_row recover_rows[] = {
	{"show", 's', OPTION_FLAG, NULL, "show the words, if they were not shown yet",
	 offsetof(struct recover_options, show), 0},
	{"name", 'n', OPTION_TEXT, "DEVICE",
	 "what other devices call this one (default: the host's name)",
	 offsetof(struct recover_options, name), 0},
	{"listen", 'l', OPTION_TEXT, "A:P", "address to be reached at; port 0 is any",
	 offsetof(struct recover_options, listen), 0},
};

static int show(struct out *out, const char *home)
{
	AUTO(buf_fini) struct buf words = {0};

	if (account_waiting_words(home, &words) < 0)
		return out_error(
			out, CODE_FAILED,
			"recover: there are no words to show: they were shown, or this device "
			"has no account");
	account_show_words(out, &words);
	wipe(words.data, words.cap);
	int r = account_forget_words(home);
	if (r < 0)
		return out_error(out, CODE_FAILED, "recover: cannot remove account.words: %s",
				 strerror(-r));
	return CODE_OK;
}

/* A database that is to be had there. */
struct found {
	struct id id;
	char *name;
	char *shown; /* the same, for a terminal */
	bool wanted;
};

struct recover {
	const struct recover_options *options;
	const char *at;
	char **names; /* which databases; none = all */
	int name_count;
	struct out *out;
	char *home;
	struct keys *keys;
	struct account account;
	struct found found[RECOVER_WITHOUT_MAX];
	size_t found_count;
	struct device device; /* who has them */
	int error;	      /* of on_offer() */
};

static void recover_fini(struct recover *r)
{
	for (size_t i = 0; i < r->found_count; i++) {
		free(r->found[i].name);
		free(r->found[i].shown);
	}
	wipe(&r->account, sizeof(r->account));
	keys_destroy(r->keys);
	free(r->home);
}

/* ---- what is there -------------------------------------------------------------------------- */

static void on_proven(void *ctx, const struct pair_result *offer)
{
	(void)ctx;
	(void)offer;
}

/* Notes one, and leaves. What is said twice would be asked for without end. */
static int on_offer(void *ctx, const struct pair_result *offer)
{
	struct recover *r = ctx;
	struct found f = {0};

	r->error = db_welcome_id(buf_slice(&offer->welcome), &f.id);
	for (size_t i = 0; i < r->found_count; i++)
		r->error = id_eq(&f.id, &r->found[i].id) ? -EBADMSG : r->error;
	if (r->error == 0)
		r->error = db_welcome_name(buf_slice(&offer->welcome), &f.name);
	if (r->error == 0) {
		f.shown = show_text(f.name);
		r->device = offer->peer;
		r->found[r->found_count++] = f;
	}
	return -ECANCELED;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

/* Asks for one that is not known yet: 0, or as net_pair_join(). */
static int find_next(struct recover *r, struct why *why)
{
	struct id without[RECOVER_WITHOUT_MAX];
	const struct pair_confirm confirm = {.proven = on_proven, .confirm = on_offer, .ctx = r};
	struct pair_result result = {0};
	struct pair_target target = {
		.account = &r->account,
		.at = r->at,
		.without = without,
		.without_count = r->found_count,
		.device_id = r->found_count > 0 ? r->device.id : NULL,
		.timeout_ms = JOIN_REACH_MS,
	};

	for (size_t i = 0; i < r->found_count; i++)
		without[i] = r->found[i].id;
	r->error = -EBADMSG;
	int q = net_pair_join(&target, r->keys, &confirm, &result, why);
	if (q == -ECANCELED && r->error < 0)
		return why_set(why, -EKEYREJECTED,
			       "what the device at %s offers is not understood; is it a newer Blaze?",
			       r->at);
	return q == -ECANCELED ? 0 : q;
}

static int find_all(struct recover *r)
{
	struct why why = {""};
	int q = 0;

	while (q == 0 && r->found_count < RECOVER_WITHOUT_MAX)
		q = find_next(r, &why);
	if (q < 0 && (q != -ENOENT || r->found_count == 0))
		return out_error(r->out, join_code(q), "%s", why.text);
	qsort(r->found, r->found_count, sizeof(r->found[0]), by_name);
	return CODE_OK;
}

/* ---- which of them -------------------------------------------------------------------------- */

static bool is_named(const struct recover *r, const char *name)
{
	bool named = r->name_count == 0;

	for (int i = 0; i < r->name_count; i++)
		named = named || strcmp(r->names[i], name) == 0;
	return named;
}

/* Why it cannot be joined, or NULL. Two of one name cannot both be here: the first is. */
static const char *obstacle(const struct recover *r, size_t i)
{
	const struct found *f = &r->found[i];

	if (!home_name_is_valid(f->name))
		return "that is no name for a database";
	if (home_has_database(r->home, f->name))
		return "there is a database of that name on this device already";
	if (i > 0 && strcmp(f->name, r->found[i - 1].name) == 0)
		return "another one has the same name: set BLAZE_HOME to another place for it";
	return NULL;
}

static bool is_found(const struct recover *r, const char *name)
{
	for (size_t i = 0; i < r->found_count; i++) {
		if (strcmp(r->found[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Lists what is there, and which of it is wanted. Returns how many are. */
static size_t list(struct recover *r)
{
	AUTO(free_ptr) char *device = show_text(r->device.name);
	size_t count = 0;

	out_printf(r->out, "%s at %s has %zu database%s of this account:\n", device, r->at,
		   r->found_count, show_plural(r->found_count));
	for (size_t i = 0; i < r->found_count; i++) {
		struct found *f = &r->found[i];
		const char *why = obstacle(r, i);

		f->wanted = !why && is_named(r, f->name);
		count += f->wanted;
		out_printf(r->out, "    %-20s %s\n", f->shown,
			   why	       ? why
			   : f->wanted ? ""
				       : "not asked for");
	}
	if (r->found_count == RECOVER_WITHOUT_MAX)
		out_printf(r->out, "There may be more: run it again after this.\n");
	return count;
}

static int choose(struct recover *r)
{
	AUTO(free_ptr) char *device = show_text(r->device.name);
	AUTO(buf_fini) struct buf question = {0};
	size_t count = list(r);
	size_t said = 0;

	for (int i = 0; i < r->name_count; i++) {
		if (!is_found(r, r->names[i]))
			return out_error(r->out, CODE_PAIRING,
					 "recover: there is no database \"%s\" of this account that "
					 "is mounted there",
					 r->names[i]);
	}
	if (count == 0)
		return out_error(r->out, CODE_PAIRING,
				 "recover: none of them can be joined: nothing was kept here");
	buf_printf(&question, "Trust %s and join ", device);
	for (size_t i = 0; i < r->found_count; i++) {
		if (!r->found[i].wanted)
			continue;
		buf_printf(&question, "%s\"%s\"",
			   said == 0	       ? ""
			   : said == count - 1 ? " and "
					       : ", ",
			   r->found[i].shown);
		said++;
	}
	buf_printf(&question, "? [y/N] ");
	if (out_ask(r->out, buf_str(&question)) > 0)
		return CODE_OK;
	return out_error(r->out, CODE_PAIRING, "not joined: nothing was kept here");
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* One that fails does not keep the others away. */
static int join_all(struct recover *r)
{
	int code = CODE_OK;

	for (size_t i = 0; i < r->found_count; i++) {
		char none[] = "";
		const struct join_options options = {
			.device_name = "",
			.listen = r->options->listen,
			.at = r->at,
			.account = &r->account,
			.database = &r->found[i].id,
			.device_id = r->device.id,
			.timeout_ms = INT64_MAX,
		};
		int c = r->found[i].wanted ? join_run_with(none, &options, r->out) : CODE_OK;

		code = code == CODE_OK ? c : code;
	}
	return code;
}

static int recover(struct recover *r)
{
	int code = account_ask_words(r->out, "recover", &r->account);

	if (code == CODE_OK)
		code = join_prepare(r->options->name ? r->options->name : "", r->out, &r->home,
				    &r->keys);
	if (code == CODE_OK)
		code = find_all(r);
	if (code == CODE_OK)
		code = choose(r);
	return code == CODE_OK ? join_all(r) : code;
}

static int recover_run(const struct command *c, struct out *out, int argc, char **argv)
{
	AUTO(recover_fini) struct recover r = {.out = out};
	struct recover_options o = {0};
	AUTO(free_ptr) char *home = NULL;
	struct why why = {""};
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (!account_has_terminal())
		return out_error(out, CODE_USAGE,
				 "recover: the words are shown and asked for on a terminal only");
	if (home_find(&home, &why) < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	if (o.show)
		return show(out, home);
	if (first == argc)
		return out_error(out, CODE_USAGE,
				 "recover: from which device? Name an address of one, such as "
				 "192.168.1.5:7700");
	r.options = &o;
	r.at = argv[first];
	r.names = &argv[first + 1];
	r.name_count = argc - first - 1;
	return recover(&r);
}

const struct command cmd_recover = {
	.usage = {.name = "recover",
		  .operands = "[ADDR:PORT [DATABASE …]]",
		  .operands_max = RECOVER_WITHOUT_MAX,
		  .summary = "Joins with the recovery words, from a device at this address.",
		  .notes = "The words were shown when the first database was made; if that was not on a "
			   "terminal,\n--show shows them, once. They are asked for on a terminal only.\n"
			   "All databases of the account that are mounted there are listed, then joined if you say\n"
			   "so; or only those that are named.\n",
		  .rows = recover_rows,
		  .row_count = countof(recover_rows)},
	.run = recover_run,
};
