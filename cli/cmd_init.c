/* blaze init: makes a database, and this device's identity if it has none yet. */
#include "cli/account.h"
#include "cli/command.h"
#include "cli/home.h"
#include "cli/show.h"

#include "core/db.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct init_options {
	const char *name;
};

static const struct option_row init_rows[] = {
	{"name", 'n', OPTION_TEXT, "DEVICE",
	 "what other devices call this one (default: the host's name)",
	 offsetof(struct init_options, name), 0},
};

/* Where nobody reads them they wait for blaze recover --show. */
static void tell_words(struct out *out, const char *home, struct buf *words)
{
	if (words->len == 0)
		return;
	if (out->tty) {
		account_show_words(out, words);
		(void)account_forget_words(home);
	}
	wipe(words->data, words->cap);
}

static int create(struct out *out, const char *home, const char *name, const char *device_name)
{
	AUTO(free_ptr) char *dir = home_database(home, name);
	AUTO(free_ptr) char *account = NULL;
	AUTO(buf_fini) struct buf words = {0};
	AUTO(buf_fini) struct buf shown = {0};
	char label[DEVICE_LABEL_BYTES];
	struct keys *keys = NULL;
	struct why why = {""};

	if (home_create(home, &why) < 0 || home_become_owner(home, &why) < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	if (access(dir, F_OK) == 0)
		return out_error(
			out, CODE_FAILED,
			"a database \"%s\" is here already: choose another name, or mount it with "
			"blaze mount %s DIR",
			name, name);
	int r = home_keys(home, device_name, &keys, &why);
	if (r < 0)
		return out_error(out, command_code(r == -ENOENT ? -EIO : r), "%s", why.text);
	r = account_open(home, &account, &words, &why);
	if (r == 0)
		r = db_create_for(dir, name, keys, account, &why);
	if (r < 0) {
		keys_destroy(keys);
		return out_error(out, CODE_FAILED, "%s", why.text);
	}
	show_path(&shown, dir);
	device_label(keys_device(keys), label);
	AUTO(free_ptr) char *device = show_text(keys_device(keys)->name);
	out_printf(out, "Created database \"%s\" in %s\n", name, buf_str(&shown));
	out_printf(out, "This device is  %s  (%s)\n\n", device, label);
	tell_words(out, home, &words);
	out_printf(out, "Next:  blaze mount %s DIR\n", name);
	keys_destroy(keys);
	return CODE_OK;
}

static int init_run(const struct command *c, struct out *out, int argc, char **argv)
{
	struct init_options o = {.name = ""};
	AUTO(free_ptr) char *home = NULL;
	struct why why = {""};
	int code = CODE_OK;
	int first = options_parse(&c->usage, &o, argc, argv, out, &code);

	if (!first)
		return code;
	if (first == argc)
		return out_error(out, CODE_USAGE,
				 "init: what shall it be called? Usage: blaze init NAME");
	if (!home_name_is_valid(argv[first])) {
		AUTO(free_ptr) char *shown = show_text(argv[first]);
		return out_error(
			out, CODE_USAGE,
			"init: \"%s\" cannot be a database's name: use up to %d letters, digits, '.', "
			"'_' and '-', beginning with a letter or digit",
			shown, HOME_NAME_BYTES_MAX);
	}
	if (home_find(&home, &why) < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	(void)umask(077);
	return create(out, home, argv[first], o.name);
}

const struct command cmd_init = {
	.usage = {.name = "init",
		  .operands = "NAME",
		  .operands_max = 1,
		  .summary = "Makes a new, empty database.",
		  .rows = init_rows,
		  .row_count = countof(init_rows)},
	.run = init_run,
};
