/* What a device keeps of its person's account. */
#include "cli/account.h"

#include "cli/command.h"
#include "core/platform.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define TEXT_BYTES_MAX 512
#define WORDS_A_LINE 7
#define LINE_BYTES_MAX 1024

/* Whole or not at all, durable, and never over another. */
static int write_new(const char *home, const char *name, struct slice text)
{
	AUTO(free_ptr) char *path = xasprintf("%s/%s", home, name);
	AUTO(free_ptr) char *tmp = xasprintf("%s.%ld.tmp", path, (long)getpid());
	AUTO(close_fd) int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(close_fd) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || dir < 0)
		return -errno;
	int r = out_write_all(fd, text);
	if (r == 0 && fsync(fd) != 0)
		r = -errno;
	if (r == 0)
		r = platform_rename_new(tmp, path);
	if (r < 0)
		(void)unlink(tmp);
	else
		(void)fsync(dir);
	return r;
}

static int read_text(const char *home, const char *name, struct buf *ret)
{
	AUTO(free_ptr) char *path = xasprintf("%s/%s", home, name);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf_reserve(ret, TEXT_BYTES_MAX), TEXT_BYTES_MAX);
	if (n < 0)
		return -errno;
	ret->len += (size_t)n;
	return 0;
}

static int create(const char *home, char **ret_text, struct buf *ret_words)
{
	AUTO(buf_fini) struct buf text = {0};
	struct account a;

	account_create(&a);
	(void)buf_reserve(ret_words, TEXT_BYTES_MAX); /* so that no copy is left behind */
	account_words(&a, ret_words);
	account_text(a.pk, &text);
	wipe(&a, sizeof(a));
	/* The words first: an account whose words nobody has is none. */
	int r = write_new(home, "account.words", buf_slice(ret_words));
	if (r == 0)
		r = write_new(home, "account.pub", buf_slice(&text));
	if (r == 0)
		*ret_text = xstrdup(buf_str(&text));
	return r;
}

int account_open(const char *home, char **ret_text, struct buf *ret_words, struct why *why)
{
	AUTO(buf_fini) struct buf text = {0};
	uint8_t pk[KEYS_PK_BYTES];
	int r = read_text(home, "account.pub", &text);

	if (r == 0 && account_parse(buf_str(&text), pk) < 0)
		return why_set(why, -EBADMSG,
			       "'%s/account.pub' is damaged; restore it from a backup", home);
	if (r == 0) {
		*ret_text = xstrdup(buf_str(&text));
		return 0;
	}
	if (r == -ENOENT)
		(void)account_forget_words(home); /* of an account that was never finished */
	if (r == -ENOENT)
		r = create(home, ret_text, ret_words);
	return r < 0 ? why_set(why, r, "cannot make the account in '%s': %s", home, strerror(-r))
		     : 0;
}

int account_waiting_words(const char *home, struct buf *ret)
{
	return read_text(home, "account.words", ret);
}

int account_forget_words(const char *home)
{
	AUTO(free_ptr) char *path = xasprintf("%s/account.words", home);

	return unlink(path) == 0 ? 0 : -errno;
}

void account_show_words(struct out *out, struct buf *words)
{
	char *rest = NULL;
	unsigned n = 0;

	out_printf(out, "Recovery words. Write them down; they are shown this once only:\n\n");
	for (char *word = strtok_r(buf_str(words), " ", &rest); word;
	     word = strtok_r(NULL, " ", &rest)) {
		out_printf(out, "%s%2u %-9s", n % WORDS_A_LINE ? "" : "    ", n + 1, word);
		n++;
		if (n % WORDS_A_LINE == 0)
			out_printf(out, "\n");
	}
	out_printf(out, "\nWith them, blaze recover lets a new device into your databases.\n\n");
	out_flush(out);
}

bool account_has_terminal(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
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

int account_ask_words(struct out *out, const char *command, struct account *ret)
{
	char line[LINE_BYTES_MAX] = "";

	bool ok = read_words(out, line);
	int r = ok ? account_from_words(SLICE_STR(line), ret) : -EINVAL;
	wipe(line, sizeof(line));
	out_printf(out, "\n");
	if (r == -ENOENT)
		return out_error(out, CODE_PAIRING, "%s: there is a word that is none of the list",
				 command);
	if (r == -EBADMSG)
		return out_error(out, CODE_PAIRING,
				 "%s: these words do not belong together: one of them is wrong",
				 command);
	if (r < 0)
		return out_error(out, CODE_PAIRING, "%s: that is not %d words", command,
				 ACCOUNT_WORDS);
	return CODE_OK;
}
