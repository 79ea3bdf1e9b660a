/* blaze recover: joins with the account's words; shows them, if they were not yet. */
#include "cli/account.h"
#include "cli/command.h"
#include "cli/home.h"
#include "cli/join.h"

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

static int recover_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct recover_options o = {0};
	AUTO(free_ptr) char *home = NULL;
	struct why why = {""};
	struct account account;
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
	code = account_ask_words(out, "recover", &account);
	if (code != CODE_OK)
		return code;
	char none[] = "";
	const struct join_options options = {
		.device_name = o.name ? o.name : "",
		.listen = o.listen,
		.at = argv[first],
		.account = &account,
		.timeout_ms = INT64_MAX,
	};
	code = join_run_with(none, &options, out);
	wipe(&account, sizeof(account));
	return code;
}

const struct command cmd_recover = {
	.usage = {.name = "recover",
		  .operands = "[ADDR:PORT]",
		  .operands_max = 1,
		  .summary = "Joins with the recovery words, from a device at this address.",
		  .notes = "The words were shown when the first database was made; if that was not on a "
			   "terminal,\n--show shows them, once. They are asked for on a terminal only.\n",
		  .rows = recover_rows,
		  .row_count = countof(recover_rows)},
	.run = recover_run,
};
