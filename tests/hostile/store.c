/*
 * A relay that lies: blaze-relay with this between it and its store (linked with --wrap). As long as the file $HOSTILE exists, it
 * holds a way to lie about every item of a log that is read:
 *
 *   damage   a bit is another
 *   repeat   it is the log's first, again
 *   swap     it is what the other mailbox has at that place
 *   gap      it is not there
 *   full     and nothing is added to a log
 *
 * or "collude": everybody is on the list of every mailbox, and may do all.
 *
 * $HOSTILE_CLOCK: a file with the seconds that its clock is ahead, if it exists.
 */
#include "net/mail.h"
#include "relay/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_relay_store_open_leveldb(const char *dir, struct relay_store **ret, struct why *why);
int __real_relay_store_open_leveldb(const char *dir, struct relay_store **ret, struct why *why);

#define HEAD_BYTES (8 + 32)
#define KEY_BYTES (1 + 16 + 8)

const struct mail_acl_entry *__wrap_mail_acl_find(const struct mail_acl *acl,
						  const uint8_t dh_pk[KEYS_PK_BYTES]);
const struct mail_acl_entry *__real_mail_acl_find(const struct mail_acl *acl,
						  const uint8_t dh_pk[KEYS_PK_BYTES]);

static struct relay_store_ops lying;
static const struct relay_store_ops *honest;

static bool lie_is(const char *name)
{
	const char *path = getenv("HOSTILE");
	FILE *f = path ? fopen(path, "re") : NULL;
	char text[32] = "";

	if (!f)
		return false;
	bool any = fscanf(f, "%31s", text) == 1;
	(void)fclose(f);
	return any && strcmp(text, name) == 0;
}

struct other {
	struct slice than;
	struct buf key;
};

static bool find_other(void *ctx, struct slice key, struct slice value)
{
	struct other *o = ctx;

	(void)value;
	if (memcmp(key.data + 1, o->than.data + 1, 16) == 0 ||
	    memcmp(key.data + 17, o->than.data + 17, 8) != 0)
		return true;
	buf_clear(&o->key);
	buf_slice_append(&o->key, key);
	return false;
}

static int lying_read(struct relay_store *s, struct slice key, struct buf *ret)
{
	AUTO(buf_fini) struct buf changed = {0};
	struct other o = {.than = key};

	if (key.len != KEY_BYTES || key.data[0] != 'L')
		return honest->read(s, key, ret);
	if (lie_is("gap"))
		return -ENOENT;
	buf_slice_append(&changed, key);
	if (lie_is("repeat")) {
		memset(changed.data + 17, 0, 8);
		changed.data[KEY_BYTES - 1] = 1;
	} else if (lie_is("swap") &&
		   honest->scan(s, SLICE_STR("L"), SLICE("", 0), find_other, &o) == 0 &&
		   o.key.len > 0) {
		memcpy(changed.data, o.key.data, KEY_BYTES);
	}
	buf_fini(&o.key);
	int r = honest->read(s, buf_slice(&changed), ret);
	if (r == 0 && ret->len > HEAD_BYTES + 50 && lie_is("damage"))
		ret->data[ret->len - 5] ^= 1;
	return r;
}

static int lying_write(struct relay_store *s, const struct relay_write *writes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (writes[i].key.data[0] == 'L' && lie_is("full"))
			return -ENOSPC;
	}
	return honest->write(s, writes, count);
}

int __wrap_relay_store_open_leveldb(const char *dir, struct relay_store **ret, struct why *why)
{
	int r = __real_relay_store_open_leveldb(dir, ret, why);

	if (r < 0)
		return r;
	honest = (*ret)->ops;
	lying = *honest;
	lying.read = lying_read;
	lying.write = lying_write;
	(*ret)->ops = &lying;
	return 0;
}

const struct mail_acl_entry *__wrap_mail_acl_find(const struct mail_acl *acl,
						  const uint8_t dh_pk[KEYS_PK_BYTES])
{
	static const struct mail_acl_entry all = {.rights = MAIL_GET_RIGHT | MAIL_PUT_RIGHT |
							    MAIL_ADMIN_RIGHT};

	return lie_is("collude") ? &all : __real_mail_acl_find(acl, dh_pk);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	const char *path = getenv("HOSTILE_CLOCK");
	int r = __real_clock_gettime(clock, ret);
	FILE *f = path && clock == CLOCK_REALTIME ? fopen(path, "re") : NULL;
	long ahead = 0;

	if (f && fscanf(f, "%ld", &ahead) == 1)
		ret->tv_sec += ahead;
	if (f)
		(void)fclose(f);
	return r;
}
