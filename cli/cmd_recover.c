/* blaze recover: joins with the account's words; shows them, if they were not yet. */
#include "cli/account.h"
#include "cli/command.h"
#include "cli/home.h"
#include "cli/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define LINE_BYTES_MAX 1024

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

static bool is_terminal(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

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

/* Not shown while they are typed: whoever is fast may type before the question is there. */
static bool read_words(struct out *out, char line[LINE_BYTES_MAX])
{
	struct termios before;
	struct termios silent;
	bool has_terminal = tcgetattr(STDIN_FILENO, &before) == 0;

	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	if (has_terminal)
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	out_printf(out, "The %d recovery words, with blanks between them: ", ACCOUNT_WORDS);
	out_flush(out);
	bool ok = fgets(line, LINE_BYTES_MAX, stdin) != NULL;
	if (has_terminal)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return ok;
}

static int ask_words(struct out *out, struct account *ret)
{
	char line[LINE_BYTES_MAX] = "";

	bool ok = read_words(out, line);
	int r = ok ? account_from_words(SLICE_STR(line), ret) : -EINVAL;
	wipe(line, sizeof(line));
	out_printf(out, "\n");
	if (r == -ENOENT)
		return out_error(out, CODE_PAIRING,
				 "recover: there is a word that is none of the list");
	if (r == -EBADMSG)
		return out_error(out, CODE_PAIRING,
				 "recover: these words do not belong together: one of them is wrong");
	if (r < 0)
		return out_error(out, CODE_PAIRING, "recover: that is not %d words", ACCOUNT_WORDS);
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
	if (!is_terminal())
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
	code = ask_words(out, &account);
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
