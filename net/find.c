/* Codes that wait: the machine's own directory, and the local network. */
#include "net/find.h"

#include "core/digest.h"
#include "core/platform.h"
#include "net/hello.h"
#include "net/local.h"
#include "net/nearby.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct find_ad {
	struct nearby *nearby;
	uint32_t nameplate;
	char *path; /* NULL: there is no such directory */
};

#define ATTEMPTS 64
#define FILE_BYTES_MAX 4096
/* Small numbers are easier to read out, and rarely taken. */
#define NAMEPLATE_FIRST_MAX 99
#define NAMEPLATE_NEAR_MAX 999
/* At a relay they must not be guessed: always six digits. */
#define NAMEPLATE_FAR_MIN 100000

static uint32_t draw(bool for_relays, unsigned attempt)
{
	uint32_t near_max = attempt < ATTEMPTS / 2 ? NAMEPLATE_FIRST_MAX : NAMEPLATE_NEAR_MAX;
	uint32_t min = for_relays ? NAMEPLATE_FAR_MIN : 1;
	uint32_t max = for_relays ? HELLO_NAMEPLATE_MAX : near_max;
	uint64_t random = 0;

	random_bytes(&random, sizeof(random));
	return min + (uint32_t)(random % (max - min + 1));
}

/* What the file says; "" when it says nothing, or who wrote it is gone. */
static void read_file(const char *path, char out[FILE_BYTES_MAX])
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd >= 0 ? read(fd, out, FILE_BYTES_MAX - 1) : 0;

	out[n > 0 ? n : 0] = 0;
	long pid = strtol(out, NULL, 10);
	if (pid <= 0 || kill((pid_t)pid, 0) < 0)
		out[0] = 0;
}

static bool write_file(const char *path, char (*addresses)[ENDPOINT_TEXT_BYTES], size_t count)
{
	AUTO(buf_fini) struct buf text = {0};
	char before[FILE_BYTES_MAX];

	buf_printf(&text, "%ld", (long)getpid());
	for (size_t i = 0; i < count; i++)
		buf_printf(&text, " %s", addresses[i]);
	buf_u8(&text, '\n');

	read_file(path, before);
	if (before[0] == 0)
		(void)unlink(path);
	AUTO(free_ptr) char *tmp = xasprintf("%s.%ld", path, (long)getpid());
	AUTO(close_fd)
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len &&
		  platform_rename_new(tmp, path) == 0;
	if (!ok && fd >= 0)
		(void)unlink(tmp);
	return ok;
}

uint32_t find_publish(struct nearby *nearby, char (*addresses)[ENDPOINT_TEXT_BYTES], size_t count,
		      bool for_relays, struct find_ad **ret_ad)
{
	struct find_ad *ad = xcalloc(1, sizeof(*ad));
	AUTO(free_ptr) char *dir = local_directory("pair");
	uint32_t nameplate = 0;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		nameplate = draw(for_relays, i);
		AUTO(free_ptr) char *path = dir ? xasprintf("%s/%u", dir, nameplate) : NULL;
		if (!path)
			break;
		if (write_file(path, addresses, count)) {
			ad->path = STEAL(path);
			break;
		}
	}
	ad->nearby = nearby;
	ad->nameplate = nameplate;
	nearby_invite(nearby, nameplate, addresses, count);
	*ret_ad = ad;
	return nameplate;
}

void find_withdraw(struct find_ad *ad)
{
	if (!ad)
		return;
	if (ad->path)
		(void)unlink(ad->path);
	nearby_withdraw(ad->nearby, ad->nameplate);
	free(ad->path);
	free(ad);
}

size_t find_lookup_here(uint32_t nameplate, char (*out)[ENDPOINT_TEXT_BYTES], size_t max)
{
	AUTO(free_ptr) char *dir = local_directory("pair");
	char text[FILE_BYTES_MAX] = "";
	char *rest = NULL;
	size_t n = 0;

	if (!dir)
		return 0;
	AUTO(free_ptr) char *path = xasprintf("%s/%u", dir, nameplate);
	read_file(path, text);
	(void)strtok_r(text, " \n", &rest); /* who */
	for (char *word = strtok_r(NULL, " \n", &rest); word && n < max;
	     word = strtok_r(NULL, " \n", &rest)) {
		struct endpoint e;

		if (strlen(word) < ENDPOINT_TEXT_BYTES && endpoint_parse(word, &e) == 0)
			(void)snprintf(out[n++], ENDPOINT_TEXT_BYTES, "%s", word);
	}
	return n;
}

size_t find_lookup(uint32_t nameplate, char (*out)[ENDPOINT_TEXT_BYTES], size_t max)
{
	size_t n = find_lookup_here(nameplate, out, max);

	return n > 0 ? n : nearby_lookup(nameplate, FIND_NEARBY_MS, out, max);
}
