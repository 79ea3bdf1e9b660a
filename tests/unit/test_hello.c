/* HELLO of RECOVER: which databases of an account are meant. Prints "ok NAME" for each test. */
#include "net/hello.h"

#include "tests/unit/check.h"

#include <string.h>

static const uint8_t account[KEYS_PK_BYTES] = {1, 2, 3};
static const uint8_t stranger[KEYS_PK_BYTES] = {1, 2, 4};
static const struct id work = {{1}};
static const struct id mail = {{2}};

static struct hello a_hello(const struct id *database)
{
	struct hello h = {.version_min = HELLO_VERSION_MIN,
			  .version_max = HELLO_VERSION,
			  .mode = HELLO_RECOVER,
			  .nonce = {7}};

	h.hint = hello_recover_hint(account, h.nonce, database);
	return h;
}

/* As the other side gets it. */
static struct hello sent(const struct hello *h)
{
	AUTO(buf_fini) struct buf wire = {0};
	struct hello ret = {0};

	hello_encode(h, &wire);
	CHECK(wire.len <= HELLO_BYTES_MAX);
	CHECK(hello_decode(buf_slice(&wire), &ret) == 0);
	return ret;
}

static void test_hello_any_database(void)
{
	struct hello h = a_hello(NULL);

	h = sent(&h);
	CHECK(hello_recovers(&h, account, &work) && hello_recovers(&h, account, &mail));
	CHECK(!hello_recovers(&h, stranger, &work));
}

static void test_hello_one_database(void)
{
	struct hello h = a_hello(&mail);

	h = sent(&h);
	CHECK(!hello_recovers(&h, account, &work) && hello_recovers(&h, account, &mail));
	CHECK(!hello_recovers(&h, stranger, &mail));
}

static void test_hello_all_but_some(void)
{
	struct hello h = a_hello(NULL);
	struct id other = {{0}};

	for (size_t i = 0; i < HELLO_WITHOUT_MAX - 1; i++) {
		other.b[15] = (uint8_t)i;
		hello_add_without(&h, &other);
	}
	hello_add_without(&h, &work);
	h = sent(&h);
	CHECK(h.without_count == HELLO_WITHOUT_MAX);
	CHECK(!hello_recovers(&h, account, &work) && hello_recovers(&h, account, &mail));
	CHECK(!hello_recovers(&h, account, &other));
	/* Under another nonce the same bytes mean nothing: what was recorded tells nobody which databases there are. */
	h.nonce[0]++;
	h.hint = hello_recover_hint(account, h.nonce, NULL);
	CHECK(hello_recovers(&h, account, &work));
}

static void test_hello_malformed(void)
{
	for (size_t more = 1; more <= HELLO_TAG_BYTES * 2; more++) {
		AUTO(buf_fini) struct buf body = {0};
		AUTO(buf_fini) struct buf wire = {0};
		struct hello h = {0};

		buf_resize(&body, HELLO_NONCE_BYTES + 16 + more);
		buf_append(&wire, "B\2\2\5\0", 5);
		buf_bytes(&wire, buf_slice(&body));
		int r = hello_decode(buf_slice(&wire), &h);
		CHECK(r == (more % HELLO_TAG_BYTES == 0 ? 0 : -EBADMSG));
		buf_clear(&wire);
		buf_append(&wire, "B\2\2\5\0", 5);
		buf_resize(&body,
			   HELLO_NONCE_BYTES + 16 + HELLO_WITHOUT_MAX * HELLO_TAG_BYTES + more);
		buf_bytes(&wire, buf_slice(&body));
		CHECK(hello_decode(buf_slice(&wire), &h) == -EBADMSG);
	}
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{"any database", test_hello_any_database},
		{"one database", test_hello_one_database},
		{"all but some", test_hello_all_but_some},
		{"malformed", test_hello_malformed},
	};

	for (size_t i = 0; i < countof(tests); i++) {
		tests[i].run();
		(void)printf("ok %s\n", tests[i].name);
	}
	return 0;
}
